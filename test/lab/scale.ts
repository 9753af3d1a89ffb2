/** How often something is done: in every test run, and in `npm run test:hard`. */
export function scaled(quick: number, hard: number): number {
  return process.env.KNOCKIFY_HARD ? hard : quick;
}
