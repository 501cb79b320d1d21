"""Two buttons below each figure save it as SVG and as PNG, always on white.

The page's colours are CSS variables, which other programs do not know: each is replaced by the
colour that its `var()` gives for the case that it is not set, which is the one for a light page.
"""

FIGURE_FILES = """
  var SVG = "http://www.w3.org/2000/svg";
  function shown(figure) {
    return Array.from(figure.querySelectorAll("svg")).find(function (svg) {
      return svg.getBoundingClientRect().width > 0;
    });
  }
  function fileOf(svg) {
    var copy = svg.cloneNode(true);
    var size = svg.viewBox.baseVal;
    copy.setAttribute("xmlns", SVG);
    copy.setAttribute("width", size.width.toFixed(1));
    copy.setAttribute("height", size.height.toFixed(1));
    copy.querySelectorAll("[data-tip]").forEach(function (mark) {
      var title = document.createElementNS(SVG, "title");
      title.textContent = mark.getAttribute("data-tip");
      mark.prepend(title);
      mark.removeAttribute("data-tip");
    });
    var paper = document.createElementNS(SVG, "rect");
    paper.setAttribute("width", "100%");
    paper.setAttribute("height", "100%");
    paper.setAttribute("fill", "#fff");
    copy.prepend(paper);
    return new XMLSerializer().serializeToString(copy)
      .replace(/var\\(--[\\w-]+, ?([^)]*)\\)/g, "$1")
      .replace(/currentColor/gi, "#1b1f24");
  }
  function save(blob, name) {
    var link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 10000);
  }
  function savePng(text, size, name) {
    var image = new Image(), scale = 3;
    image.onload = function () {
      var canvas = document.createElement("canvas");
      canvas.width = scale * size.width;
      canvas.height = scale * size.height;
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob(function (blob) { save(blob, name); }, "image/png");
    };
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
  }
  function button(figure, kind, action) {
    var made = document.createElement("button");
    made.type = "button";
    made.className = "save";
    made.textContent = kind;
    made.setAttribute("aria-label", "Save the figure " + figure.dataset.name + " as " + kind);
    made.addEventListener("click", action);
    return made;
  }
  document.querySelectorAll(".lb figure[data-name]").forEach(function (figure) {
    if (figure.dataset.ready) return;
    figure.dataset.ready = "1";
    var name = figure.dataset.name, row = document.createElement("div");
    row.className = "files";
    row.append("Save as ", button(figure, "SVG", function () {
      save(new Blob([fileOf(shown(figure))], {type: "image/svg+xml"}), name + ".svg");
    }), button(figure, "PNG", function () {
      var svg = shown(figure);
      savePng(fileOf(svg), svg.viewBox.baseVal, name + ".png");
    }));
    figure.append(row);
  });
"""
