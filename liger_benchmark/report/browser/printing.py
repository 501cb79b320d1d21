"""What is folded is unfolded: while the page is printed, and where a link leads into it."""

PRINTING = """
  var root = document.documentElement;
  if (root.dataset.lbReady) return;
  root.dataset.lbReady = "1";
  var opened = [];
  addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll(".lb details:not([open])"));
    opened.forEach(function (details) { details.open = true; });
  });
  addEventListener("afterprint", function () {
    opened.forEach(function (details) { details.open = false; });
  });
  function unfold() {
    var target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    var details = target && (target.querySelector("details") || target.closest("details"));
    if (details && target.closest(".lb")) details.open = true;
  }
  addEventListener("hashchange", unfold);
  unfold();
"""
