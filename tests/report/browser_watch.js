// Note errors and requests from the start; the page's policy blocks every request.
window.problems = [];
window.onerror = function (message) { problems.push("error: " + message); };
console.error = function (message) { problems.push("console: " + message); };
document.addEventListener("securitypolicyviolation", function (event) {
  problems.push("request: " + event.blockedURI + " " + event.violatedDirective);
});
