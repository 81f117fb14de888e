// Make elements. Text goes in as text nodes only; nothing here takes HTML.

type Attributes = Readonly<Record<string, string | number | boolean | undefined | ((event: Event) => void)>>;
export type Child = Node | string | undefined;

const SVG = "http://www.w3.org/2000/svg";

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return filled(document.createElement(tag), attributes, children);
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled<E extends Element>(target: E, attributes: Attributes, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") target.addEventListener(name, value);
    else if (value === true) target.setAttribute(name, "");
    else if (value !== undefined && value !== false) target.setAttribute(name, String(value));
  }
  target.append(...children.filter((child) => child !== undefined));
  return target;
}

/** Show these children. Those that are the same already stay, so that the focus and a selection stay too. */
export function show(target: Element, ...children: Child[]): void {
  const fresh = document.createElement("template").content;
  fresh.append(...children.filter((child) => child !== undefined));
  const wanted = [...fresh.childNodes];
  const present = [...target.childNodes];
  keepOpen(target, fresh);
  const focused = target.contains(document.activeElement) ? document.activeElement?.getAttribute("data-focus") : null;
  if (wanted.length !== present.length) target.replaceChildren(...wanted);
  else wanted.forEach((node, place) => node.isEqualNode(present[place] ?? null) || present[place]?.replaceWith(node));
  if (!focused || target.contains(document.activeElement)) return;
  target.querySelector<HTMLElement>(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

/** What the reader has opened is open in the new children too. */
function keepOpen(present: Element, fresh: DocumentFragment): void {
  const opened = [...present.querySelectorAll("details")].map((details) => details.open);
  fresh.querySelectorAll("details").forEach((details, place) => (details.open = opened[place] ?? false));
}
