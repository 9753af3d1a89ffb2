import type { ErrorStatus, ListenerStatus, Status } from '../spec/status.ts';
import { clock, folded, type Page, painted } from './terminal.ts';

/** How `knockify status` looks. */

/** A table has a width wherever it goes. */
const USUAL_COLUMNS = 80;

const columnsOf = ({ columns = USUAL_COLUMNS }: Page) => columns;

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `12 s`, `5 min`, `3 h`, `12 d`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  if (s < MINUTE) return `${s} s`;
  if (s < HOUR) return `${Math.floor(s / MINUTE)} min`;
  return s < 2 * DAY ? `${Math.floor(s / HOUR)} h` : `${Math.floor(s / DAY)} d`;
}

const LARGEST = 1_000_000;

/** As it is, or in millions where that would take too much room. */
function count(number: number): string {
  return number < LARGEST ? String(number) : `${(number / LARGEST).toFixed(1)}M`;
}

function place({ address, port }: ListenerStatus): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Nothing that a program or a client chose may move the cursor. */
export function harmless(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?');
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 3))}...`;
}

const HEADS = ['LISTENER', 'PROGRAM', 'USER', 'MODE', 'AGE', 'RIGHT', 'WRONG', 'LAST'] as const;
/** These are numbers and stand to the right. */
const RIGHT_ALIGNED: readonly number[] = [4, 5, 6, 7];
/** Longest program with its process, and user. */
const WIDEST = new Map([
  [1, 20],
  [2, 10],
]);

function cells(listener: ListenerStatus, now: number): string[] {
  const { program, pid, user, uid, mode, protectedLength, syns, last, since } = listener;
  const ago = (time: string) => duration((now - Date.parse(time)) / 1000);
  return [
    place(listener),
    cut(harmless(`${program ?? '?'}[${pid}]`), WIDEST.get(1) ?? 0),
    cut(harmless(user ?? String(uid)), WIDEST.get(2) ?? 0),
    mode === 'integrity' ? `int ${protectedLength}` : 'auth',
    ago(since),
    syns === null ? '-' : count(syns.authorised),
    syns === null ? '-' : count(syns.rejected),
    last === null ? '-' : `${ago(last.time)}${last.secret === null ? '' : ` ${harmless(last.secret)}`}`,
  ];
}

function row(texts: readonly string[], widths: readonly number[]): string {
  return texts
    .map((text, i) => {
      const width = widths[i] ?? 0;
      return RIGHT_ALIGNED.includes(i) ? text.padStart(width) : text.padEnd(width);
    })
    .join('  ')
    .trimEnd();
}

/** One line a listener; two where the addresses leave no room for the rest. */
function table(listeners: readonly ListenerStatus[], page: Page, now: number): string[] {
  const columns = columnsOf(page);
  const rows = [[...HEADS], ...listeners.map((listener) => cells(listener, now))];
  const widths = HEADS.map((_, i) => Math.max(...rows.map((texts) => texts[i]?.length ?? 0)));
  const whole = widths.reduce((sum, width) => sum + width + 2, -2);
  // Nothing in the first column leaves its two blanks as an indent.
  const narrow = [0, ...widths.slice(1)];
  const [heads = [], ...lines] = rows.map((texts) =>
    whole <= columns ? [row(texts, widths)] : [texts[0] ?? '', row(['', ...texts.slice(1)], narrow)],
  );
  const fitting = (line: string) => cut(line, columns);
  return [...heads.map((line) => painted(page, 'dim', fitting(line))), ...lines.flat().map(fitting)];
}

/** Of what goes on below. */
const INDENT = 2;

/** Whole, since it says what to do. */
function wholly(page: Page, first: string, text: string): string[] {
  const lines = folded(page, text, { text: first, indent: INDENT }).split('\n');
  return page.columns === undefined ? lines : lines.map((line) => cut(line, columnsOf(page)));
}

function errorLines({ time, text, pid }: ErrorStatus, page: Page): string[] {
  const who = pid === null || text.startsWith(`process ${pid} `) ? '' : `process ${pid}: `;
  const { day, seconds } = clock(time);
  return wholly(page, `${day} ${seconds}  `, harmless(who + text));
}

const plural = (number: number, what: string) => `${number} ${what}${number === 1 ? '' : 's'}`;

/** The whole status as lines that fit the page. */
export function statusLines(status: Status, page: Page, now = Date.now()): string[] {
  const columns = columnsOf(page);
  const { control, listeners, connects, events, errors } = status;
  const first = `control process ${control.pid}, version ${control.version} (${control.engine}), up ${duration(control.uptime)}`;
  const second = [
    plural(listeners.length, 'guarded listener'),
    `${connects.armed} connecting, ${connects.delayed} delayed`,
    plural(control.sessions, 'session'),
    ...(events.followers > 0 ? [plural(events.followers, 'follower')] : []),
    ...(events.suppressed > 0 ? [`${count(events.suppressed)} events suppressed`] : []),
  ].join(', ');
  const nothing =
    control.engine === 'knock'
      ? ['A kernel with the Knock patch does not tell what it guards.']
      : ['Nothing is guarded, or nothing that this user may know of.'];
  const listed =
    listeners.length > 0 ? table(listeners, page, now) : nothing.map((line) => cut(line, columns));
  // The newest first: a live view has no room for all of them.
  const failed = errors.toReversed().flatMap((error) => errorLines(error, page));
  return [
    painted(page, 'bold', cut(first, columns)),
    ...wholly(page, '', second),
    '',
    ...listed,
    ...(failed.length > 0
      ? ['', painted(page, 'dim', 'LAST ERRORS'), ...failed.map((line) => painted(page, 'red', line))]
      : []),
  ];
}
