import type { Comparison } from './path.ts';
import type { Answer, Outcome } from './plain.ts';

/** Exit statuses of `knockify check`; 2 is for a mistake in what was asked or set. */
export const STATUS = {
  good: 0,
  /** Nothing can be said: something is missing here, or the host can't be reached. */
  untold: 1,
  /** The port is open to everybody. */
  open: 3,
  /** It does not open to the secret. */
  shut: 4,
  /** Something on the way changes what the token covers. */
  changed: 5,
} as const;

export interface Verdict {
  readonly status: (typeof STATUS)[keyof typeof STATUS];
  readonly text: string;
  /** What to do, or what to know. */
  readonly advice: readonly string[];
}

export interface Tried {
  readonly plain: Outcome;
  /** Undefined: not tried, since the port is open or the host can't be reached. */
  readonly stealth: Outcome | undefined;
  readonly protectedLength: number;
  /** Of the secret that was tried; undefined where the control process lent its own. */
  readonly fingerprint: string | undefined;
}

/** What two connects tell, in words. */
export function judge(tried: Tried): Verdict {
  const { plain, stealth } = tried;
  if (plain.answer === 'unreachable' || stealth?.answer === 'unreachable') {
    return {
      status: STATUS.untold,
      text: 'The host cannot be reached, so nothing can be said about the port.',
      advice: ['Is the address right, is the host up, and is there a route to it?'],
    };
  }
  if (plain.answer === 'open' || plain.answer === 'reset') return isOpen();
  if (stealth?.answer === 'open') return isHidden(plain.answer);
  if (stealth?.answer === 'reset') return isReset(tried);
  return isShut(tried);
}

function isOpen(): Verdict {
  return {
    status: STATUS.open,
    text: 'Not hidden: the port is open to everybody.',
    advice: [
      'If this server should be hidden: was it started under libknockify.so, does its KNOCK_TARGETS leave the port out, or does a service manager listen for it (systemd socket)?',
      'A SYN proxy or load balancer in front of the server answers in its place, and hides nothing.',
    ],
  };
}

function isHidden(answer: Answer): Verdict {
  if (answer === 'closed')
    return { status: STATUS.good, text: 'Hidden, and your secret opens it.', advice: [] };
  return {
    status: STATUS.good,
    text: 'Hidden, and your secret opens it; but a stranger gets no answer.',
    advice: [
      'A closed port would refuse the connection. A firewall drops the refusal, or the SYN: ports next to it had better keep silent too.',
    ],
  };
}

function isReset({ protectedLength }: Tried): Verdict {
  return {
    status: STATUS.shut,
    text: 'The token gets in, but the connection is reset at the first bytes.',
    advice: [
      `KNOCK_INTLEN is ${protectedLength} here: is it the same at the server? Or the server itself did not like what was sent.`,
      'Something on the way may have changed the bytes, or the first segment is too small for them.',
    ],
  };
}

function isShut({ plain, stealth, protectedLength, fingerprint }: Tried): Verdict {
  const silent = plain.answer === 'filtered' && stealth?.answer === 'filtered';
  const mode = protectedLength === 0 ? 'not set' : String(protectedLength);
  return {
    status: STATUS.shut,
    text: silent
      ? 'No answer, with your secret either: a firewall drops the SYNs, or the host is down.'
      : 'Closed, to your secret too.',
    advice: [
      ...(silent ? ['A firewall in front of the server has to let SYNs to the port through.'] : []),
      'Does the server run, and listen at this address and port?',
      `Is the secret the same there? ${fingerprint === undefined ? "Here it is the control process's own." : `Its fingerprint here is ${fingerprint}.`} 'knockify doctor' shows it at the server.`,
      `Is KNOCK_INTLEN the same there? Here it is ${mode}.`,
      "Does something on the way change the SYN? Run 'knockify check --listen 7777' at the server, and 'knockify check HOST 7777 --path' here.",
    ],
  };
}

const CAUSES: readonly { readonly about: RegExp; readonly advice: string }[] = [
  {
    about: /^destination/,
    advice:
      "The destination is translated on the way (destination NAT, a load balancer, a container's published port). The token covers the address that the client names: at the server it is never right. Connect to the address that the server has itself.",
  },
  {
    about: /^sequence/,
    advice:
      'A firewall or a proxy puts sequence numbers of its own in (some call it sequence number randomization; it can be turned off for the port), or a proxy ends the connection and makes another.',
  },
  {
    about: /^timestamp (removed|added)/,
    advice:
      'A firewall changes the TCP options. Let it leave the timestamp option alone; or set net.ipv4.tcp_timestamps=0 at the client, which makes all tokens for one destination the same.',
  },
  {
    about: /^timestamp rewritten/,
    advice:
      'A firewall (a timestamp "normalizer") or a proxy changes timestamps: turn that off for the port; or set net.ipv4.tcp_timestamps=0 at the client, which makes all tokens for one destination the same.',
  },
];

/** What a comparison of the SYN at both ends tells. */
export function judgePath({ changes }: Comparison): Verdict {
  if (changes.length === 0) {
    const text = 'Nothing on the way changes what the token covers.';
    return { status: STATUS.good, text, advice: [] };
  }
  return {
    status: STATUS.changed,
    text: `TCP Stealth does not work on this way: ${changes.join(', ')}.`,
    advice: CAUSES.filter(({ about }) => changes.some((change) => about.test(change))).map(
      ({ advice }) => advice,
    ),
  };
}
