/* Writes a figure of assets/paper-figure.js as SVG, PDF or PNG. Everything happens in the browser. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const INK = "#1d2129";
  const DPI = 300;
  const MM_A_POINT = 25.4 / 72;
  const FACES = { 400: "normal", 600: "bold" }; // weights, and jsPDF's names for them
  const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

  const escaped = (text) => text.replace(/[&<>"]/g, (letter) => ENTITIES[letter]);
  const short = (value) => String(Math.round(value * 1000) / 1000);

  /* -- SVG ------------------------------------------------------------------------------------------------- */

  const ELEMENTS = {
    rect: ({ rect: [x, y, w, h], fill }) =>
      `<rect x="${short(x)}" y="${short(y)}" width="${short(w)}" height="${short(h)}" fill="${fill}"/>`,
    cells: ({ cells, fill }) =>
      `<path fill="${fill}" d="${cells.map(([x, y, w, h]) => `M${short(x)} ${short(y)}h${short(w)}v${short(h)}h${short(-w)}z`).join("")}"/>`,
    line: ({ line: [x1, y1, x2, y2], stroke, width }) =>
      `<path d="M${short(x1)} ${short(y1)}L${short(x2)} ${short(y2)}" stroke="${stroke}" stroke-width="${width}" stroke-linecap="round"/>`,
    ring: ({ ring: [x, y, radius], stroke, width }) =>
      `<circle cx="${short(x)}" cy="${short(y)}" r="${short(radius)}" fill="none" stroke="${stroke}" stroke-width="${width}"/>`,
    text({ text, at: [x, y], size, bold, anchor, turned }) {
      const turn = turned ? ` transform="rotate(-90 ${short(x)} ${short(y)})"` : "";
      const face = `font-size="${short(size * MM_A_POINT)}"${bold ? ' font-weight="600"' : ""}`;
      return `<text x="${short(x)}" y="${short(y)}" ${face} text-anchor="${anchor}"${turn}>${escaped(text)}</text>`;
    },
  };
  const kindOf = (shape) => ("text" in shape ? "text" : Object.keys(ELEMENTS).find((kind) => kind in shape));

  MS.figureAsSvg = function ({ width, height, shapes, title }) {
    const body = shapes.map((shape) => ELEMENTS[kindOf(shape)](shape)).join("\n");
    return (
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}mm" height="${height}mm" viewBox="0 0 ${width} ${height}" ` +
      `font-family="Inter, Helvetica, Arial, sans-serif" fill="${INK}">\n<title>${escaped(title)}</title>\n` +
      `<rect width="${width}" height="${height}" fill="#ffffff"/>\n${body}\n</svg>\n`
    );
  };

  /* -- PNG ------------------------------------------------------------------------------------------------- */

  function paint(ink, shape) {
    ink.fillStyle = shape.fill || INK;
    ink.strokeStyle = shape.stroke || INK;
    ink.lineWidth = shape.width || 0;
    if (shape.rect) ink.fillRect(...shape.rect);
    else if (shape.cells) shape.cells.forEach((rect) => ink.fillRect(...rect));
    else if ("text" in shape) write(ink, shape);
    else {
      ink.beginPath();
      if (shape.ring) ink.arc(...shape.ring, 0, 2 * Math.PI);
      else ink.moveTo(shape.line[0], shape.line[1]), ink.lineTo(shape.line[2], shape.line[3]);
      ink.stroke();
    }
  }

  /* Text is drawn at 100 times its size, since browsers round small sizes. */
  function write(ink, { text, at, size, bold, anchor, turned }) {
    ink.save();
    ink.translate(...at);
    if (turned) ink.rotate(-Math.PI / 2);
    ink.scale(0.01, 0.01);
    ink.font = `${bold ? 600 : 400} ${size * MM_A_POINT * 100}px InterVariable, Helvetica, Arial, sans-serif`;
    ink.textAlign = anchor === "middle" ? "center" : anchor;
    ink.fillText(text, 0, 0);
    ink.restore();
  }

  const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n;
  });
  const crc = (bytes) => ~bytes.reduce((sum, byte) => CRC[(sum ^ byte) & 255] ^ (sum >>> 8), 0xffffffff) >>> 0;

  /* A PNG that says its resolution, in a chunk pHYs after the header of 33 bytes; canvases write none. */
  function withResolution(png) {
    const chunk = new DataView(new ArrayBuffer(21)), dots = Math.round(DPI / 0.0254);
    [9, 0x70485973, dots, dots].forEach((value, i) => chunk.setUint32(4 * i, value)); // length, "pHYs", per metre
    chunk.setUint8(16, 1); // the unit is the metre
    chunk.setUint32(17, crc(new Uint8Array(chunk.buffer, 4, 13)));
    return new Blob([png.slice(0, 33), chunk.buffer, png.slice(33)], { type: "image/png" });
  }

  MS.figureAsPng = async function ({ width, height, shapes }) {
    await Promise.all(Object.keys(FACES).map((weight) => document.fonts.load(`${weight} 20px InterVariable`)));
    const canvas = document.createElement("canvas"), scale = DPI / 25.4;
    [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    const ink = canvas.getContext("2d");
    ink.fillStyle = "#ffffff";
    ink.fillRect(0, 0, canvas.width, canvas.height);
    ink.scale(scale, scale);
    ink.lineCap = "round";
    shapes.forEach((shape) => paint(ink, shape));
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    return withResolution(await blob.arrayBuffer());
  };

  /* -- PDF ------------------------------------------------------------------------------------------------- */

  let library = null;

  /* jsPDF (420 KB) and the fonts that it embeds are fetched when the first PDF is asked for. */
  function loadLibrary() {
    library = library || Promise.all([loadScript(), ...Object.keys(FACES).map(loadFont)]).catch((error) => {
      library = null;
      throw error;
    });
    return library;
  }

  function loadScript() {
    return new Promise((done, fail) => {
      const src = `${MS.root()}assets/jspdf.umd.min.js`;
      const failed = () => fail(new Error("The part that writes PDF files could not be loaded. Try again."));
      document.head.append(MS.make("script", { src, onload: done, onerror: failed }));
    });
  }

  async function loadFont(weight) {
    const answer = await fetch(`${MS.root()}assets/inter-${weight}.ttf`);
    if (!answer.ok) throw new Error("The font of PDF files could not be loaded. Try again.");
    const bytes = new Uint8Array(await answer.arrayBuffer());
    return [weight, bytes.reduce((text, byte) => text + String.fromCharCode(byte), "")];
  }

  /* Refuse a letter that the font lacks: it would be missing in the file without a word. */
  function checkLetters(font, shapes) {
    for (const { text = "" } of shapes)
      for (const letter of text)
        if (!font.metadata.characterToGlyph(letter.codePointAt(0)))
          throw new Error(`The font of PDF files has no letter '${letter}'. Change the title, or save as SVG or PNG.`);
  }

  const DRAW = {
    rect: (pdf, { rect }) => pdf.rect(...rect, "F"),
    cells(pdf, { cells }) {
      for (const rect of cells) pdf.rect(...rect, null);
      pdf.fill();
    },
    line: (pdf, { line }) => pdf.line(...line),
    ring: (pdf, { ring }) => pdf.circle(...ring, "S"),
    text(pdf, { text, at, size, bold, anchor, turned }) {
      pdf.setFont("Inter", bold ? "bold" : "normal").setFontSize(size).setTextColor(INK);
      // jsPDF aligns before it turns, so that a turned text starts where its anchor says.
      const length = anchor === "start" ? 0 : pdf.getTextWidth(text) * (anchor === "end" ? 1 : 0.5);
      const [x, y] = turned ? [at[0], at[1] + length] : [at[0] - length, at[1]];
      pdf.text(text, x, y, turned ? { angle: 90 } : {});
    },
  };

  MS.figureAsPdf = async function ({ width, height, shapes, title }) {
    const [, ...fonts] = await loadLibrary();
    const orientation = width > height ? "landscape" : "portrait";
    const pdf = new window.jspdf.jsPDF({ unit: "mm", format: [width, height], orientation, compress: true });
    pdf.setProperties({ title, creator: "Model Shapley" });
    for (const [weight, data] of fonts) {
      pdf.addFileToVFS(`inter-${weight}.ttf`, data);
      pdf.addFont(`inter-${weight}.ttf`, "Inter", FACES[weight]);
    }
    pdf.setFont("Inter", "normal");
    checkLetters(pdf.getFont(), shapes);
    pdf.setLineCap("round");
    for (const shape of shapes) {
      if (shape.fill) pdf.setFillColor(shape.fill);
      if (shape.stroke) pdf.setDrawColor(shape.stroke).setLineWidth(shape.width);
      DRAW[kindOf(shape)](pdf, shape);
    }
    return pdf.output("blob");
  };
})();
