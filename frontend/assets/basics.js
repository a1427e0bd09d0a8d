/* Helpers for the other scripts: the API's address, and elements in one expression. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const root = () => document.querySelector("meta[name=root-path]").content;

  MS.root = root;
  MS.api = (path) => root() + "api/v1" + path;

  /* Create an element with properties (`dataset` included) and children. */
  MS.make = function (tag, { dataset, ...props } = {}, ...children) {
    const node = Object.assign(document.createElement(tag), props);
    Object.assign(node.dataset, dataset);
    node.append(...children);
    return node;
  };

  /* Call build(box) for the box with this id whenever Dash puts an empty one on the page. */
  MS.fillBoxes = function (id, build) {
    const fill = () => {
      const box = document.getElementById(id);
      if (box && !box.firstChild) build(box);
    };
    document.addEventListener("DOMContentLoaded", () => {
      new MutationObserver(fill).observe(document.body, { childList: true, subtree: true });
      fill();
    });
  };
})();
