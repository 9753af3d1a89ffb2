import { describe, expect, it } from 'vitest';
import { buildManual } from '../../ts/codegen/manual.ts';
import { buildReference, type Subject } from '../../ts/codegen/reference.ts';

const subject: Subject = {
  version: '9.8.7',
  commands: [
    {
      name: 'dance',
      summary: 'move in time',
      usage: '[options] <step...>',
      parameters: [{ name: 'step...', description: 'which ones' }],
      options: [
        { flags: '--tempo <n>', description: 'beats a minute', default: '120', required: false },
        {
          flags: '--partner <name>',
          description: 'with whom | or *what*',
          default: undefined,
          required: true,
        },
      ],
      after: "Mind the\n'gap'.\n\nAnd the step.",
      commands: [
        {
          name: 'dance tango',
          summary: 'it takes two',
          usage: '[options] <partner>',
          parameters: [{ name: 'partner', description: 'with whom' }],
          options: [{ flags: '--rose', description: 'with a rose', default: undefined, required: false }],
          after: '',
          commands: [],
        },
      ],
    },
  ],
  settings: [
    {
      name: 'KNOCK_TUNE',
      aliases: ['KNOCK_SONG'],
      default: 'silence',
      rule: 'the name of a tune',
      example: 'waltz',
      description: 'What is played.',
      inSections: true,
    },
  ],
  section: { rule: 'a place in brackets', example: '[barn]', description: 'For some places only.' },
  variables: [
    { name: 'KNOCK_HALL', default: '/hall', rule: 'a path', example: '/barn', description: 'Where.' },
  ],
};

describe('the reference', () => {
  const text = buildReference(subject);

  it('has settings and variables with what applies to them', () => {
    for (const part of ['KNOCK_TUNE=waltz', 'Default: silence', '`KNOCK_SONG`', 'KNOCK_HALL=/barn'])
      expect(text).toContain(part);
  });

  it('has commands with their options, and takes nothing in a description for mark-up', () => {
    expect(text).toContain('### `knockify dance [options] <step...>`');
    expect(text).toContain('| `--tempo <n>` | beats a minute (default: 120) |');
    expect(text).toContain('with whom \\| or \\*what\\* (required)');
    expect(text).toContain("Mind the\n'gap'.\n\nAnd the step.");
    expect(text).toContain('### `knockify dance tango [options] <partner>`\n\nIt takes two.');
    expect(text).toContain('| `--rose` | with a rose |');
  });
});

it('the reference has sections', () => {
  const text = buildReference(subject);
  for (const part of [
    'For some places only.',
    'a place in brackets',
    'In sections: KNOCK\\_TUNE',
    '`[barn]`',
  ])
    expect(text).toContain(part);
});

describe('the manual pages', () => {
  const pages = buildManual(subject);

  it('are one for the whole, one a command, one for the file and one for the library', () => {
    expect(Object.keys(pages).sort()).toEqual([
      'docs/man/knockify-dance.1.md',
      'docs/man/knockify.1.md',
      'docs/man/knockrc.5.md',
      'docs/man/libknockify.so.7.md',
    ]);
  });

  it('name version and section in the title', () => {
    expect(pages['docs/man/knockrc.5.md']).toMatch(/^% knockrc 5 "" "knockify 9\.8\.7" "File formats"\n/);
  });

  it('set what is typed apart from what stands for something', () => {
    expect(pages['docs/man/knockify-dance.1.md']).toContain(
      '**--tempo** *n*\n:   beats a minute (default: 120)',
    );
    expect(pages['docs/man/knockify-dance.1.md']).toContain('**knockify dance** [*options*] *step*...');
  });

  it('begin no line of theirs with a quotation mark, which would be a request to troff', () => {
    expect(pages['docs/man/knockify-dance.1.md']).toContain("Mind the 'gap'.\n\nAnd the step.");
  });

  it("have a command's own commands with it, and sections with the file", () => {
    const text = pages['docs/man/knockify-dance.1.md'];
    expect(text).toContain('**knockify dance tango** [*options*] *partner*');
    expect(text).toContain(
      '## **dance tango** *partner*\n\nIt takes two.\n\n*partner*\n:   with whom\n\n**--rose**\n:   with a rose',
    );
    expect(pages['docs/man/knockrc.5.md']).toContain('[barn]\nKNOCK_TUNE=waltz');
  });
});
