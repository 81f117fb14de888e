// Numbers and times for people.

const NUMBER = new Intl.NumberFormat("en-US");
const COMPACT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export function whole(value: number): string {
  return NUMBER.format(value);
}

export function compact(value: number): string {
  return COMPACT.format(value);
}

/** USD with cents; amounts below a cent with two significant digits. */
export function dollars(value: number): string {
  if (value !== 0 && Math.abs(value) < 0.01) return `$${Number(value.toPrecision(2))}`;
  return `$${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}

/** A length of time in its largest unit, and in two if the larger one is small: "3 h 20 min". */
export function duration(milliseconds: number): string {
  const minutes = Math.floor(Math.max(0, milliseconds) / 60_000);
  if (minutes < 1) return `${Math.floor(Math.max(0, milliseconds) / 1000)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 10) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
}

/** The reader's local date and time, to the minute. */
export function localTime(date: Date): string {
  return `${localDay(date)} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** The reader's local date. */
export function localDay(date: Date): string {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** "under_way" -> "under way". */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** "1 day", "2 days"; "2 jobs or batches". */
export function plural(number: number, noun: string): string {
  const many = noun.replaceAll(/\bjob\b/g, "jobs").replace(/(ch)?$/, (end) => (end ? "ches" : "s"));
  return `${whole(number)} ${number === 1 ? noun : many}`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
