/** A part of a terminal, as `process.stdout` is one. */
export interface Screen {
  readonly columns: number;
  readonly rows: number;
  write(text: string): unknown;
  on(event: 'resize', listener: () => void): unknown;
  off(event: 'resize', listener: () => void): unknown;
}

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const TO_END_OF_LINE = '\x1b[K';
const TO_END_OF_SCREEN = '\x1b[J';

/**
 * Lines on a screen of their own, which the terminal forgets when it is left. Each is written over what was there, and
 * the screen never cleared, so that nothing flickers.
 */
export class LiveView {
  readonly #screen: Screen;
  #lines: readonly string[] = [];
  readonly #redraw = () => this.show(this.#lines);

  constructor(screen: Screen) {
    this.#screen = screen;
    screen.write(ENTER);
    screen.on('resize', this.#redraw);
  }

  /** As many as there are rows for, and how many more there would be. */
  show(lines: readonly string[]): void {
    this.#lines = lines;
    const rows = Math.max(1, this.#screen.rows);
    const fitting = lines.slice(0, rows - 1);
    const shown =
      lines.length <= rows ? lines : [...fitting, `(${lines.length - fitting.length} more lines)`];
    const text = shown.map((line) => `${line}${TO_END_OF_LINE}`).join('\r\n');
    this.#screen.write(`${HOME}${text}${TO_END_OF_SCREEN}`);
  }

  close(): void {
    this.#screen.off('resize', this.#redraw);
    this.#screen.write(LEAVE);
  }
}
