import type { Report } from './machine.ts';
import { FILES, type Series } from './table.ts';

/** docs/kernels.md: what the test files found on other kernels. */

const START = `<!-- Verified by test/kernels/kernels.test.ts. Do not edit; run: npm run test:kernels -- -u -->

# Other kernels

\`npm run test:kernels\` boots Debian's own kernels, as the packages have them, in a machine that QEMU computes, and runs a
choice of the tests there. \`npm test\` runs all of them on the kernel that is there. Computing both takes an hour or more on
two processors, so CI does not. What is not in the table (probes and replays by ten thousands, the programs of others) is
run on the kernel that is there alone.

`;

/** `date`: the day of the run, in words. */
export function render(reports: ReadonlyMap<Series, Report>, date: string): string {
  const all = [...reports];
  const lines = [
    ...all.map(([, { release, version }]) => `- Linux ${release} (${version}), ${date}`),
    '',
    `| what | test | ${all.map(([series]) => series).join(' | ')} |`,
    `|---|---|${'---|'.repeat(all.length)}`,
    ...FILES.map(({ file, about }) => {
      const cells = all.map(([, report]) => cell(file, report));
      return `| ${[about, `\`${file}\``, ...cells].join(' | ')} |`;
    }),
  ];
  return `${START}${lines.join('\n')}\n`;
}

function cell(file: string, { files }: Report): string {
  const found = files.get(file);
  if (found === undefined) return 'NOT RUN';
  return found.failed.size === 0 ? `all ${found.passed.length} pass` : 'FAILS';
}

/** The same text as long as the same tests hold: days, versions and counts change by themselves. */
export function withoutFigures(text: string): string {
  return text.replace(/\(#.*\), .*$/gm, '').replace(/\d+/g, '#');
}
