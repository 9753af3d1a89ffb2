/** How many times as long as usual things may take on the machine that these tests run on: others may be at work on it. */
const SLOWNESS = Number(process.env.KNOCKIFY_SLOWNESS ?? 3);

/** How long to wait here for what elsewhere takes `milliseconds` at most. */
export function patient(milliseconds: number): number {
  return milliseconds * SLOWNESS;
}
