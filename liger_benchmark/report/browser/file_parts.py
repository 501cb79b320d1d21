"""Buttons that save some lines of a file that the page holds whole, as a download."""

FILE_PARTS = """
  function linesOf(whole) {
    var link = document.querySelector(".lb a[download='" + whole + "']");
    var href = link.getAttribute("href");
    return decodeURIComponent(href.slice(href.indexOf(",") + 1)).split("\\n");
  }
  document.querySelectorAll(".lb button.part").forEach(function (button) {
    if (button.dataset.ready) return;
    button.dataset.ready = "1";
    button.hidden = false;
    button.addEventListener("click", function () {
      var lines = linesOf(button.dataset.whole), range = button.dataset.lines.split(",");
      var part = [lines[0]].concat(lines.slice(range[0], range[1]), "").join("\\n");
      var link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([part], {type: "text/csv"}));
      link.download = button.dataset.name;
      link.click();
      setTimeout(function () { URL.revokeObjectURL(link.href); }, 10000);
    });
  });
"""
