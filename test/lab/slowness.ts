/** How many times as long as usual things take on the machine that these tests run on. */
const SLOWNESS = Number(process.env.KNOCKIFY_SLOWNESS ?? 1);

/** How long to wait here for what elsewhere takes `milliseconds` at most. */
export function patient(milliseconds: number): number {
  return milliseconds * SLOWNESS;
}
