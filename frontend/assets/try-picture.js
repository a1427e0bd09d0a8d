/* The field for a picture on the page to try one. Built here, since dcc.Upload (Dash 4.4) has no accessible file field. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const { make } = MS;
  const set = (id, props) => window.dash_clientside.set_props(id, props);
  const MAX_URL = 900000; // characters; the API's limit
  const SIDES = [1024, 768, 512, 384, 256]; // sizes tried for a picture that is too large, in pixels

  const dataUrl = (file) =>
    new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.onerror = () => reject(reader.error);
      reader.readAsDataURL(file);
    });

  /* The file as it is or, where it is too large, as a smaller JPEG. */
  async function fitted(file) {
    const whole = await dataUrl(file);
    if (whole.length <= MAX_URL) return whole;
    const image = await createImageBitmap(file);
    for (const side of SIDES) {
      const scale = Math.min(1, side / Math.max(image.width, image.height));
      const canvas = make("canvas", { width: Math.round(image.width * scale), height: Math.round(image.height * scale) });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      const url = canvas.toDataURL("image/jpeg", 0.92);
      if (url.length <= MAX_URL) return url;
    }
    throw new Error("too large");
  }

  MS.buildPictureField = function (frame) {
    if (frame.firstChild) return;
    const input = make("input", { type: "file", id: "try-file", accept: "image/*", className: "upload-field" });
    const preview = make("img", { alt: "the chosen picture", className: "example-image", hidden: true });
    const note = make("div", { className: "problem", role: "status" });
    input.onchange = async () => {
      note.textContent = "";
      preview.hidden = true;
      set("try-image", { data: null });
      if (!input.files.length) return;
      try {
        const url = await fitted(input.files[0]);
        [preview.src, preview.hidden] = [url, false];
        set("try-image", { data: url });
      } catch {
        note.textContent = "This file cannot be read as a picture. Choose a PNG or JPEG.";
      }
    };
    frame.append(make("label", { htmlFor: "try-file" }, "Picture"), input, preview, note);
  };
})();
