"""What is folded is unfolded: while the page is printed, and where a link leads into it.

A link to a part of the page sets the address' fragment by itself: in a frame whose text is given in
the page around it, the browser would take the link for one to that page.
"""

UNFOLDING = """
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
    if (!target || !target.closest(".lb")) return;
    var within = target.tagName === "H2" && target.closest("section").querySelector("details");
    var details = within || target.closest("details");
    if (details) details.open = true;
  }
  addEventListener("hashchange", unfold);
  document.addEventListener("click", function (event) {
    var link = event.target.closest(".lb a[href^='#']");
    if (!link) return;
    event.preventDefault();
    var anchor = link.getAttribute("href").slice(1);
    location.hash = anchor;
    document.getElementById(anchor).scrollIntoView();
  });
  unfold();
"""
