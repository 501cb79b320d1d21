"""The page's style and its one script. Both are scoped: Flyte shows all decks in one document."""

STYLE = """
.lb{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--muted:#5b636e;--line:#d9dde3;--soft:#f4f6f8;
--accent:#0072b2;--vanilla:#d55e00;--liger:#0072b2;--on-liger:#fff;
--arm-1:#009e73;--arm-2:#b8578f;--arm-3:#5b636e;--arm-4:#2f9fd8;--arm-5:#c98a00;--arm-6:#8f8500;--warn-bg:#fff6e0;--warn-line:#b07a00;
background:var(--bg);color:var(--fg);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;padding:24px;-webkit-text-size-adjust:100%}
@media(prefers-color-scheme:dark){.lb{--bg:#14171b;--fg:#e6e9ed;--muted:#a0a8b3;--line:#333a43;
--soft:#1d2127;--accent:#6cb8ea;--vanilla:#e69f00;--liger:#56b4e9;--on-liger:#101317;
--arm-1:#2fc79b;--arm-2:#e39bc4;--arm-3:#a0a8b3;--arm-4:#a9daf5;--arm-5:#ff9a6b;--arm-6:#f0e442;--warn-bg:#2b2410;--warn-line:#d9a520}}
.lb.deck{padding:8px}
.lb *{box-sizing:border-box}
.lb section,.lb header,.lb footer{max-width:960px;margin:0 auto}
.lb section{margin-top:56px}
.lb>section:first-child,.lb main>section:first-child{margin-top:0}
.lb h1{font-size:15px;font-weight:600;color:var(--muted);margin:0 0 8px}
.lb h2{font-size:22px;line-height:1.25;margin:0 0 16px;padding-top:20px;
border-top:1px solid var(--line)}
.lb>section:first-child h2,.lb main>section:first-child h2{border-top:0;padding-top:0}
.lb h3{font-size:17px;line-height:1.35;margin:36px 0 8px}
.lb p{margin:0 0 12px;max-width:76ch}
.lb .headline{font-size:29px;line-height:1.3;font-weight:650;letter-spacing:-.01em;
margin:0 0 16px;max-width:none;overflow-wrap:anywhere;text-wrap:pretty}
.lb .what,.lb .note,.lb figcaption{color:var(--muted);font-size:14px;line-height:1.5}
.lb .what{margin:0 0 24px;max-width:none;overflow-wrap:anywhere}
.lb .notice{background:var(--warn-bg);border-left:4px solid var(--warn-line);padding:12px 16px;
margin:0 0 20px;font-weight:600;overflow-wrap:anywhere}
.lb .warnings{border-left:4px solid var(--warn-line);background:var(--warn-bg);margin:24px 0;
padding:12px 16px 12px 34px;list-style:disc;max-width:none;font-size:14px;overflow-wrap:anywhere}
.lb .warnings li{margin:2px 0}
.lb .verdict{font-size:17px;margin:24px 0 8px}
.lb figure{margin:16px 0 24px}
.lb figure svg{display:block;width:100%;height:auto;overflow:visible;color:var(--fg)}
.lb figcaption{margin-top:4px}
.lb .scroll{overflow-x:auto;margin:8px 0 16px}
.lb table{border-collapse:collapse;width:100%;font-size:14px;line-height:1.4;
font-variant-numeric:tabular-nums;color:var(--fg);background:var(--bg)}
.lb caption{text-align:left;color:var(--muted);font-size:14px;padding:0 0 8px;caption-side:top}
.lb th,.lb td{padding:6px 10px 6px 0;text-align:left;vertical-align:top;
border-bottom:1px solid var(--line)}
.lb thead th{font-weight:600;color:var(--muted);vertical-align:bottom;
border-bottom:2px solid var(--line)}
.lb tbody th{font-weight:600}
.lb td.num{text-align:right;white-space:nowrap}
.lb th.num{text-align:right}
.lb .num:last-child,.lb th:last-child{padding-right:0}
.lb small{display:block;color:var(--muted);font-size:12px;font-weight:400}
.lb .num small{white-space:pre}
.lb .text small{overflow-wrap:anywhere;min-width:11em}
.lb .text{overflow-wrap:break-word}
.lb .dense{font-size:13px}
.lb .dense th,.lb .dense td{padding-right:8px}
@media(max-width:900px){.lb.deck .dense{font-size:12px}.lb.deck .dense small{font-size:11px}
.lb.deck .dense th,.lb.deck .dense td{padding-right:5px}}
.lb th button{all:unset;cursor:pointer;font-weight:600}
.lb th button:focus-visible,.lb a:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.lb th button:hover{text-decoration:underline}
.lb th[aria-sort=ascending] button::after{content:" \\2191"}
.lb th[aria-sort=descending] button::after{content:" \\2193"}
.lb a{color:var(--accent)}
.lb pre{background:var(--soft);color:var(--fg);padding:14px 16px;margin:8px 0 16px;font-size:13px;
line-height:1.5;white-space:pre-wrap;overflow-wrap:anywhere;border-radius:4px}
.lb .downloads{list-style:none;padding:0;margin:0 0 16px;display:flex;flex-wrap:wrap;gap:8px 20px}
.lb footer{margin-top:56px;padding-top:16px;border-top:1px solid var(--line);color:var(--muted);
font-size:14px}
@media print{.lb{padding:0}.lb th button::after{content:""}}
"""

# Without it the tables stand in the grid's order and nothing else is missing. It may come several
# times into one document, once with each deck.
SCRIPT = """
(function(){
var value=function(row,i){var d=row.cells[i].dataset.value;return d===undefined?
row.cells[i].textContent:d===""?null:Number(d)};
var compare=function(a,b){return typeof a==="number"&&typeof b==="number"?a-b:
String(a).localeCompare(String(b))};
document.querySelectorAll(".lb table.sortable").forEach(function(table){
if(table.dataset.ready)return;table.dataset.ready="1";
table.caption.append(" Click a heading to sort.");
var heads=table.tHead.rows[0].cells;
Array.from(heads).forEach(function(head,i){
var button=document.createElement("button");button.type="button";
button.textContent=head.textContent;head.textContent="";head.appendChild(button);
button.addEventListener("click",function(){
var up=head.getAttribute("aria-sort")!=="ascending";
Array.from(heads).forEach(function(h){h.removeAttribute("aria-sort")});
head.setAttribute("aria-sort",up?"ascending":"descending");
var body=table.tBodies[0];
Array.from(body.rows).sort(function(r,s){var a=value(r,i),b=value(s,i);
if(a===null||b===null)return(a===null)-(b===null);
return up?compare(a,b):compare(b,a)}).forEach(function(row){body.appendChild(row)});
})})})})();
"""
