// Airflow's page around this one: its theme, its address, and its links. The frame is sandboxed, but of the same origin.

/** The window of Airflow's page; undefined if the page is open by itself. */
function around(): Window | undefined {
  try {
    return window.parent !== window && window.parent.document ? window.parent : undefined;
  } catch {
    return undefined; // another origin, which `frame-ancestors` should have kept out
  }
}

/** Airflow's window if it shows this page as a whole, and not as a tab of a task, whose address is the task's. */
function page(): Window | undefined {
  const outer = around();
  return outer && /\/plugin\/message-batches(\/|$)/.test(outer.location.pathname) ? outer : undefined;
}

/** Follow Airflow's theme and background; by itself, the theme of the reader's system. */
export function followTheme(): void {
  const outer = around()?.document.documentElement;
  const own = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const follow = (): void => {
    const dark = outer ? outer.classList.contains("dark") || outer.dataset["theme"] === "dark" : system.matches;
    own.dataset["theme"] = dark ? "dark" : "light";
    const ground = groundBehind(window.frameElement);
    if (ground) own.style.setProperty("--ground", ground);
    else own.style.removeProperty("--ground");
  };
  follow();
  system.addEventListener("change", follow);
  if (outer) new MutationObserver(follow).observe(outer, { attributeFilter: ["class", "data-theme"] });
}

/** The background that shows behind an element of Airflow's page; undefined if it is the browser's. */
function groundBehind(element: Element | null): string | undefined {
  for (let behind = element?.parentElement; behind; behind = behind.parentElement) {
    const colour = getComputedStyle(behind).backgroundColor;
    if (!["transparent", "rgba(0, 0, 0, 0)"].includes(colour)) return colour;
  }
  return undefined;
}

/** The query with which the page was opened: its own, or else that of Airflow's page, to which task links lead. */
export function givenQuery(): string {
  return window.location.search || (page()?.location.search ?? "");
}

/** Keep the view in the address, so that a reload shows it again. */
export function keepQuery(query: string): void {
  window.history.replaceState(null, "", window.location.pathname + query);
  const outer = page();
  if (!outer) return;
  const { pathname, search } = outer.location;
  if (search !== query) outer.history.replaceState(outer.history.state, "", pathname + query);
}

/**
 * Open one of Airflow's pages from a click on a link.
 *
 * The sandbox lets a link open nothing outside of the frame, so a link of Airflow's own page is made and clicked.
 */
export function openAround(event: Event): void {
  const outer = around();
  const link = event.currentTarget;
  if (!outer || !(link instanceof HTMLAnchorElement) || !(event instanceof MouseEvent)) return;
  event.preventDefault();
  const copy = outer.document.createElement("a");
  copy.href = link.href;
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button === 1) {
    copy.target = "_blank";
    copy.rel = "noopener";
  }
  outer.document.body.append(copy);
  copy.click();
  copy.remove();
}
