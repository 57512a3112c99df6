// Light, dark, or as the system says; remembered where the browser lets a page remember.
const THEMES = ["system", "light", "dark"];

function storedTheme() {
  try {
    const found = localStorage.getItem("wsvis-theme");
    return THEMES.includes(found) ? found : "system";
  } catch {
    return "system";
  }
}

function showTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function keepTheme(theme) {
  try {
    localStorage.setItem("wsvis-theme", theme);
  } catch {
    // Nothing remembers it; the page itself has it.
  }
}

showTheme(storedTheme());
document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  const shown = () => document.documentElement.dataset.theme ?? "system";
  const write = () => (button.textContent = `theme: ${shown()}`);
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(shown()) + 1) % THEMES.length];
    showTheme(next);
    keepTheme(next);
    write();
  });
  write();
});
