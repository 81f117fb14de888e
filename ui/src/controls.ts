// The filters above the table, and the pages below it.

import { element } from "./dom.ts";
import { plural } from "./format.ts";
import { DAYS, STATES, isOneTask, type View } from "./filter.ts";

export type Change = (part: Partial<View>) => void;

/** The form with the filters. It is made once; `setDags` fills in what is known later. */
export class Controls {
  readonly form: HTMLFormElement;
  private readonly dags: HTMLSelectElement;
  private readonly one: HTMLElement;

  constructor(view: View, change: Change, refresh: () => void) {
    const days = DAYS.map((number) => [String(number), plural(number, "day")] as const);
    const states = [["", "all"] as const, ...Object.keys(STATES).map((state) => [state, state] as const)];
    const search = element("input", { type: "search", value: view.text, placeholder: "DAG, task, run, batch id" });
    search.addEventListener("input", () => change({ text: search.value, page: 0 }));
    this.dags = select([["", "all"]], view.dag, (dag) => change({ dag, page: 0 }));
    this.one = element("p", { class: "one" });
    this.form = element(
      "form",
      { role: "search", submit: (event) => event.preventDefault() },
      labelled("Last", select(days, String(view.days), (value) => change({ days: Number(value), page: 0 }))),
      labelled("DAG", this.dags),
      labelled("State", select(states, view.state, (state) => change({ state, page: 0 }))),
      labelled("Search", search),
      element("button", { type: "button", click: refresh }, "Refresh"),
      this.one,
    );
    const all = { type: "button", click: () => change({ run: "", task: "", mapIndex: "", page: 0 }) } as const;
    this.one.append(element("span", {}), " ", element("button", all, "Show all tasks"));
  }

  /** Offer these DAGs, the chosen one included. */
  setDags(view: View, names: ReadonlyMap<string, string>): void {
    const offered = new Map(names);
    if (view.dag && !offered.has(view.dag)) offered.set(view.dag, view.dag);
    const sorted = [...offered].sort(([, a], [, b]) => a.localeCompare(b));
    const options = [["", "all"] as const, ...sorted].map(([id, name]) => new Option(name, id, false, id === view.dag));
    const present = [...this.dags.options].map((option) => option.value).join("\n");
    if (options.map((option) => option.value).join("\n") !== present) this.dags.replaceChildren(...options);
    this.dags.value = view.dag;
    this.one.hidden = !isOneTask(view);
    const [words] = this.one.children;
    if (words) words.textContent = `Only task ${view.task} of run ${view.run}.`;
  }
}

export function pager(page: number, pages: number, change: Change): HTMLElement | undefined {
  if (pages < 2) return undefined;
  const button = (name: string, to: number): HTMLElement =>
    element("button", { type: "button", "data-focus": name, disabled: to < 0 || to >= pages, click: () => change({ page: to }) }, name);
  return element(
    "nav",
    { "aria-label": "Pages" },
    button("Previous", page - 1),
    element("span", {}, `Page ${page + 1} of ${pages}`),
    button("Next", page + 1),
  );
}

function select(
  options: readonly (readonly [string, string])[],
  chosen: string,
  change: (value: string) => void,
): HTMLSelectElement {
  const found = element("select", {}, ...options.map(([value, name]) => new Option(name, value, false, value === chosen)));
  found.addEventListener("change", () => change(found.value));
  return found;
}

function labelled(name: string, control: HTMLElement): HTMLElement {
  return element("label", {}, element("span", {}, name), control);
}
