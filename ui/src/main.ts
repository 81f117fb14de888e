// The page: reads what the view needs, draws it, and reads again while something is under way.

import { Airflow, Refused, type Scope, type Wanted } from "./airflow.ts";
import { chart } from "./chart.ts";
import { Controls, pager } from "./controls.ts";
import { sums } from "./costs.ts";
import { element, show, type Child } from "./dom.ts";
import { EVERYTHING, isOneTask, matches, pageOf, queryOf, viewOf, type View } from "./filter.ts";
import { localTime, plural, whole } from "./format.ts";
import { MOST, Model } from "./model.ts";
import { head, tableRow } from "./rows.ts";
import { followTheme, givenQuery, keepQuery } from "./surroundings.ts";
import { rowsOf, type Task } from "./tasks.ts";

/** Milliseconds between two refreshes. Chosen: Airflow's own pages refresh every few seconds; batches take minutes. */
const REFRESH_MS = 15_000;
/** Costs that are read without being asked for, each in a call; and those that a click adds. Chosen: a second or two. */
const COSTS = { first: 100, more: 500 } as const;

class Page {
  private view: View = viewOf(givenQuery());
  private readonly airflow = new Airflow(new URL("../", window.location.href));
  private readonly model = new Model(this.airflow);
  private readonly controls: Controls;
  private readonly status = element("p", { role: "status" });
  private readonly problem = element("div", { role: "alert" });
  private readonly body = element("tbody");
  private readonly table = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Jobs and batches" });
  private readonly below = element("div", { class: "below" });
  private readonly costs = element("section", { "aria-labelledby": "costs" });
  private readonly refreshed = element("span", { class: "refreshed" });
  /** Names of the DAGs that were seen, by id. */
  private readonly dags = new Map<string, string>();
  private loading = new AbortController();
  private isLoading = false;
  private isRefreshing = false;
  private costsRead: number = COSTS.first;

  constructor(root: HTMLElement) {
    this.controls = new Controls(this.view, (part) => this.change(part), () => void this.load());
    const caption = element("caption", { class: "unseen" }, "Jobs and batches, newest first");
    this.table.append(element("table", {}, caption, head(), this.body));
    root.replaceChildren(
      element("header", {}, element("h1", {}, "Message Batches"), this.refreshed),
      this.controls.form,
      this.problem,
      this.status,
      this.table,
      this.below,
      this.costs,
    );
    document.addEventListener("visibilitychange", () => document.hidden || void this.refresh());
    window.setInterval(() => document.hidden || void this.refresh(), REFRESH_MS);
  }

  /** Read everything that the view needs. */
  async load(): Promise<void> {
    this.loading.abort();
    this.loading = new AbortController();
    const signal = this.loading.signal;
    this.isLoading = true;
    await this.attempt(signal, async () => {
      await this.model.load(this.scope(), this.lists(), signal, (parts) => this.drawPart(parts, signal));
      this.isLoading = false;
      await this.show(signal);
    });
    if (signal === this.loading.signal) this.isLoading = false;
  }

  /** Draw a part of the list. The first parts decide what is on the screen, so their XComs need not wait for the rest. */
  private drawPart(parts: number, signal: AbortSignal): void {
    this.draw();
    if (parts > this.lists().length) return;
    void this.attempt(signal, () => this.model.look(this.shown().rows, signal, () => this.draw()));
  }

  private scope(): Scope {
    return { dag: this.view.dag || undefined, run: isOneTask(this.view) ? this.view.run : undefined };
  }

  private lists(): readonly Omit<Wanted, keyof Scope>[] {
    if (isOneTask(this.view)) return [{}];
    return [{ active: true }, { startedSince: new Date(Date.now() - this.view.days * 86_400_000) }];
  }

  /** Read what has changed, if anything may have. */
  private async refresh(): Promise<void> {
    if (this.isLoading || this.isRefreshing || !(this.model.hasActive() || this.problem.firstChild)) return;
    if (!this.model.isLoaded) return void (await this.load());
    const signal = this.loading.signal;
    this.isRefreshing = true;
    await this.attempt(signal, async () => {
      await this.model.refresh(signal);
      await this.show(signal);
    });
    this.isRefreshing = false;
  }

  private change(part: Partial<View>): void {
    const before = this.view;
    this.view = { ...this.view, ...part };
    keepQuery(queryOf(this.view));
    const other = before.days !== this.view.days || before.dag !== this.view.dag || isOneTask(before) !== isOneTask(this.view);
    void (other ? this.load() : this.attempt(this.loading.signal, () => this.show(this.loading.signal)));
  }

  /** Draw what is known, then read the XComs of the rows and the costs, drawing them as they come. */
  private async show(signal: AbortSignal): Promise<void> {
    this.draw();
    await this.model.look(this.shown().rows, signal, () => this.draw());
    await this.model.look(this.paid().slice(0, this.costsRead), signal, () => undefined);
    this.refreshed.textContent = `Refreshed ${localTime(new Date())}`;
    this.draw();
  }

  /** Do something that calls Airflow, and show what goes wrong. */
  private async attempt(signal: AbortSignal, calls: () => Promise<void>): Promise<void> {
    try {
      await calls();
      show(this.problem);
    } catch (error) {
      if (signal.aborted || (error instanceof DOMException && error.name === "AbortError")) return;
      show(this.problem, ...described(error), element("button", { type: "button", click: () => void this.load() }, "Try again"));
      this.isLoading = false;
      this.draw();
    }
  }

  private rows(): Task[] {
    return rowsOf(this.model.all()).filter((task) => {
      const summary = this.model.summary(task);
      return matches(this.view, task, summary ? [...summary.ids, ...summary.places] : []);
    });
  }

  private shown(): ReturnType<typeof pageOf<Task>> {
    return pageOf(this.rows(), this.view.page);
  }

  private paid(): Task[] {
    return this.model.paid().filter((task) => matches({ ...this.view, state: "", text: "", task: "" }, task));
  }

  private draw(): void {
    const [now, rows] = [new Date(), this.rows()];
    const { rows: shown, page, pages } = pageOf(rows, this.view.page);
    const drawn = shown.map((task) => ({
      task,
      summary: this.model.summary(task),
      forbidden: this.model.isForbidden(task),
      address: this.airflow.addressOf(task),
    }));
    show(this.body, ...drawn.map((row) => tableRow(row, now)));
    this.table.hidden = !rows.length;
    for (const task of this.model.all()) this.dags.set(task.dag, task.dagName);
    this.controls.setDags(this.view, this.dags);
    this.status.textContent = this.said(rows.length);
    show(this.below, pager(page, pages, (part) => this.change(part)));
    show(this.costs, ...this.costsShown());
  }

  private said(rows: number): string {
    if (this.isLoading) return "Reading the task instances …"; // not each part: a screen reader reads every change out
    if (!rows && this.problem.firstChild) return "";
    if (!rows) return this.nothing();
    const cut = this.model.isCut ? ` These are the newest ${whole(MOST)} of ${whole(this.model.total)} tasks.` : "";
    return `${plural(rows, "job or batch")}.${cut}`;
  }

  private nothing(): string {
    if (isOneTask(this.view)) return "This task is not one of Message Batches, or you may not read it.";
    if (this.model.all().length) return "No job or batch matches the filters.";
    return `No job or batch that you may read began in the last ${plural(this.view.days, "day")}, and none is under way.`;
  }

  private costsShown(): Child[] {
    const paid = this.paid();
    const read = paid.map((task) => this.model.cost(task)).filter((cost) => cost !== undefined);
    const known = read.filter((cost) => cost !== null);
    if (!known.length) return [];
    const left = paid.length - read.length;
    const more = (): void => {
      this.costsRead += COSTS.more;
      void this.attempt(this.loading.signal, () => this.show(this.loading.signal));
    };
    const added = sums(known);
    const note = left > 0 ? `The newest ${whole(read.length)} of ${plural(paid.length, "ended task")} are added up.` : "";
    return [
      element("h2", { id: "costs" }, `Cost by day and DAG`),
      chart(added),
      note ? element("p", {}, `${note} `, element("button", { type: "button", "data-focus": "more", click: more }, `Add ${whole(Math.min(left, COSTS.more))} more`)) : undefined,
    ];
  }
}

/** What went wrong, and what to do. */
function described(error: unknown): Child[] {
  const status = error instanceof Refused ? error.status : 0;
  const texts: Record<number, string> = {
    401: "You are not logged in to Airflow, or no longer. Log in, then try again.",
    403: "You have no permission to read task instances in Airflow. Ask for the permission to read DAGs and their runs.",
    404: "There is no such DAG or run, or no longer.",
  };
  const otherwise = `Airflow could not be read: ${error instanceof Error ? error.message : String(error)}.`;
  return [element("p", {}, texts[status] ?? otherwise)];
}

const root = document.getElementById("page");
if (root) {
  followTheme();
  keepQuery(queryOf({ ...EVERYTHING, ...viewOf(givenQuery()) }));
  void new Page(root).load();
}
