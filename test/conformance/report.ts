import { defects, differences } from './deviations.ts';
import { casesOf, SUBJECTS, type Way } from './transcripts.ts';

/** docs/conformance.md: every case, and every difference with its reason. */

const START = `<!-- Verified by test/conformance/conformance.test.ts. Do not edit; run: npx vitest run test/conformance -u -->

# What a program notices of the library

A program prints a transcript of what every call returned: values, errno, readiness and data. It runs without the
library against a server without it, and with the library against a guarded one: in auth mode, and with integrity
protection (\`KNOCK_INTLEN\`) where the client speaks first. The transcripts are equal, line by line, but for the
differences below.
`;

function state(name: string, way: Way, ways: readonly Way[]): string {
  if (!ways.includes(way)) return '–';
  const number = differences.findIndex(({ mode, cases }) => mode.includes(way) && cases.includes(name));
  if (defects.some(({ mode, cases }) => mode.includes(way) && cases.includes(name))) return 'defect';
  return number < 0 ? 'same' : `[${number + 1}](#differences)`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

export function render(): string {
  const parts = [START, '## Differences', ''];
  differences.forEach(({ mode, cases, reason, lines, says }, i) => {
    parts.push(`${i + 1}. (${mode.join(', ')}) ${reason}${says ? ' The library says so on stderr.' : ''}`);
    parts.push(`   Cases: ${cases.map((name) => `\`${name}\``).join(', ')}.`);
    if (lines.length > 0) parts.push('   ```diff', ...lines.map((line) => `   ${line}`), '   ```');
  });
  for (const subject of SUBJECTS) {
    parts.push(
      '',
      `## ${subject.name}`,
      '',
      '| case | what it does | auth | integrity |',
      '|---|---|---|---|',
    );
    for (const { name, text, ways } of casesOf(subject)) {
      const known = `${subject.name}/${name}`;
      const columns = (['auth', 'integrity'] as const).map((way) => state(known, way, ways));
      parts.push(`| \`${name}\` | ${cell(text)} | ${columns.join(' | ')} |`);
    }
  }
  return `${parts.join('\n')}\n`;
}
