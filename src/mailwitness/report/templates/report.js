// Conveniences only: the page is complete without them. Texts are read and hidden, never parsed or inserted as HTML.
"use strict";
for (const record of document.querySelectorAll(".proof pre")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(record.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(record);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  record.previousElementSibling.append(button);
}
for (const list of document.querySelectorAll(".findings")) {
  const findings = [...list.children];
  if (findings.length < 10) continue;
  const tools = document.createElement("p"), label = document.createElement("label");
  const input = document.createElement("input"), shown = document.createElement("span");
  tools.className = "tools";
  input.type = "search";
  label.append("Only findings with ", input);
  shown.setAttribute("role", "status");
  tools.append(label, shown);
  list.before(tools);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    let count = 0;
    for (const finding of findings) {
      finding.hidden = !finding.textContent.toLowerCase().includes(wanted);
      count += finding.hidden ? 0 : 1;
    }
    shown.textContent = wanted ? `${count} of ${findings.length} shown` : "";
  });
}
