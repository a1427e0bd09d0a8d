/* What several scripts need: where the API is, and elements in a line. */
(function () {
  const MS = (window.modelShapley = window.modelShapley || {});
  const root = () => document.querySelector("meta[name=root-path]").content;

  MS.root = root;
  MS.api = (path) => root() + "api/v1" + path;

  /* An element with properties (`dataset` too) and children. */
  MS.make = function (tag, { dataset, ...props } = {}, ...children) {
    const node = Object.assign(document.createElement(tag), props);
    Object.assign(node.dataset, dataset);
    node.append(...children);
    return node;
  };
})();
