/** Who has waited this long wants to know what for. Milliseconds. */
const PATIENCE = 2_000;
const SECOND = 1_000;
const ERASE = '\r\u001b[K';

/** Waits for work; on a terminal, says what for and how long already once it takes its time. Leaves no trace. */
export async function showingProgress<T>(what: string, work: Promise<T>): Promise<T> {
  const { stderr } = process;
  if (!stderr.isTTY) return await work;
  const begun = performance.now();
  let shown = false;
  const show = () => {
    shown = true;
    stderr.write(`${ERASE}${what} (${Math.round((performance.now() - begun) / SECOND)} s)`);
  };
  let every: NodeJS.Timeout | undefined;
  const first = setTimeout(() => {
    show();
    every = setInterval(show, SECOND);
  }, PATIENCE);
  try {
    return await work;
  } finally {
    clearTimeout(first);
    clearInterval(every);
    if (shown) stderr.write(ERASE);
  }
}
