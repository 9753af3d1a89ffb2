import { expect, it } from 'vitest';
import { LiveView } from '../../ts/cli/liveView.ts';

function screen(rows: number) {
  const written: string[] = [];
  const listeners = new Set<() => void>();
  return {
    ...{ columns: 80, rows, written, listeners },
    write: (text: string) => written.push(text),
    on: (_event: 'resize', listener: () => void) => listeners.add(listener),
    off: (_event: 'resize', listener: () => void) => listeners.delete(listener),
  };
}

it('draws over what was there, and leaves the terminal as it was', () => {
  const terminal = screen(3);
  const view = new LiveView(terminal);
  view.show(['one', 'two', 'three']);
  view.show(['one', 'two', 'three', 'four']);
  view.show(['five']);
  for (const listener of terminal.listeners) listener();
  view.close();
  expect(terminal.written).toEqual([
    '\x1b[?1049h\x1b[?25l',
    '\x1b[Hone\x1b[K\r\ntwo\x1b[K\r\nthree\x1b[K\x1b[J',
    '\x1b[Hone\x1b[K\r\ntwo\x1b[K\r\n(2 more lines)\x1b[K\x1b[J',
    '\x1b[Hfive\x1b[K\x1b[J',
    '\x1b[Hfive\x1b[K\x1b[J',
    '\x1b[?25h\x1b[?1049l',
  ]);
  expect(terminal.listeners.size).toBe(0);
});
