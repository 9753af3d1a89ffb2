/** How much is done: in every test run, and in `npm run test:hard`. */
export function scaled<T>(quick: T, hard: T): T {
  return process.env.KNOCKIFY_HARD ? hard : quick;
}
