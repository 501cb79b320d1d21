"""Tables are sorted by a click on a heading; cells without a number come last."""

SORTING = """
  function value(row, i) {
    var number = row.cells[i].dataset.value;
    if (number === undefined) return row.cells[i].textContent;
    return number === "" ? null : Number(number);
  }
  function compare(a, b) {
    var numbers = typeof a === "number" && typeof b === "number";
    return numbers ? a - b : String(a).localeCompare(String(b));
  }
  function sort(table, heads, i) {
    var up = heads[i].getAttribute("aria-sort") !== "ascending";
    heads.forEach(function (head) { head.removeAttribute("aria-sort"); });
    heads[i].setAttribute("aria-sort", up ? "ascending" : "descending");
    var body = table.tBodies[0];
    Array.from(body.rows).sort(function (r, s) {
      var a = value(r, i), b = value(s, i);
      if (a === null || b === null) return (a === null) - (b === null);
      return up ? compare(a, b) : compare(b, a);
    }).forEach(function (row) { body.appendChild(row); });
  }
  document.querySelectorAll(".lb table.sortable").forEach(function (table) {
    if (table.dataset.ready) return;
    table.dataset.ready = "1";
    var hint = document.createElement("span");
    hint.className = "screen-only";
    hint.textContent = " Click a heading to sort.";
    table.caption.firstChild.append(hint);
    var heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach(function (head, i) {
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.textContent = "";
      head.appendChild(button);
      button.addEventListener("click", function () { sort(table, heads, i); });
    });
  });
"""
