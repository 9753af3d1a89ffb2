import type { Way } from './transcripts.ts';

/** How transcripts with the library differ from one without. */
export interface Deviation {
  readonly mode: readonly Way[];
  /** `subject/case`. */
  readonly cases: readonly string[];
  readonly reason: string;
  /** What turns the transcript without the library into the one with it. */
  readonly lines: readonly string[];
  /** What the library says on stderr; absent: nothing. */
  readonly says?: RegExp;
  /** A race: seen now and then only. */
  readonly racy?: true;
}

const BOTH = ['auth', 'integrity'] as const;
const INTEGRITY = ['integrity'] as const;

const CALL = 'connect_to(fd, SERVER, CLOSED)';
const LOST = 'connect_to(fd, NOBODY, ECHO)';
const SEND = 'send(fd, request, REQUEST, MSG_NOSIGNAL)';
const FIRST_WRITE =
  'connect() says yes at once: the handshake begins with the first write, which tells what connect() would have told';
const UNWRITTEN =
  'Before the protected bytes are complete no SYN can be sent; the program hears that they are not delivered';
const ENDED_EARLY =
  /^knockify: shutdown: 3 bytes of descriptor \d+ are not sent yet[^\n]*(\nknockify: descriptor \d+ was closed with 3 bytes[^\n]*)?$/;
const MUST_BE_WRITTEN = /the connect of descriptor \d+ waits for the bytes that its token covers/;

/** Differences that stay, each with its reason. */
export const differences: readonly Deviation[] = [
  {
    mode: INTEGRITY,
    cases: ['readiness/reader_is_told'],
    reason: `${UNWRITTEN}: to end a connect whose handshake has not begun gives it up, and readers get an error in place of the end.`,
    lines: ['- the thread got 0 bytes', '+ the thread got -1 bytes'],
    says: /^knockify: descriptor \d+ waits for an answer[^\n]*$/,
  },
  {
    mode: INTEGRITY,
    cases: ['connect/nonblocking_ioctl'],
    reason: `${FIRST_WRITE}.`,
    lines: ['- connect_to(fd, SERVER, ECHO) = -1 EINPROGRESS', '+ connect_to(fd, SERVER, ECHO) = 0'],
  },
  {
    mode: INTEGRITY,
    cases: ['connect/nonblocking'],
    reason: `${FIRST_WRITE}; a connect() after that finds the socket connected.`,
    lines: [
      '- connect_to(fd, SERVER, ECHO) = -1 EINPROGRESS',
      '+ connect_to(fd, SERVER, ECHO) = 0',
      '- connect_to(fd, SERVER, ECHO) = 0',
      '+ connect_to(fd, SERVER, ECHO) = -1 EISCONN',
    ],
  },
  {
    mode: INTEGRITY,
    cases: ['connect/refused'],
    reason: `${FIRST_WRITE}: refused, twice.`,
    lines: [
      ...[`- ${CALL} = -1 ECONNREFUSED`, `+ ${CALL} = 0`, `+ ${SEND} = -1 ECONNREFUSED`],
      ...[`- ${CALL} = -1 ECONNREFUSED`, `+ ${CALL} = 0`, `+ ${SEND} = -1 ECONNREFUSED`],
    ],
  },
  {
    mode: INTEGRITY,
    cases: ['connect/bound_and_refused', 'descriptors/copy_before_refused'],
    reason: `${FIRST_WRITE}: refused.`,
    lines: [`- ${CALL} = -1 ECONNREFUSED`, `+ ${CALL} = 0`, `+ ${SEND} = -1 ECONNREFUSED`],
  },
  {
    mode: INTEGRITY,
    cases: [
      'connect/refused_nonblocking',
      'connect/refused_told_by_connect',
      'connect/refused_told_by_send',
      'connect/refused_told_by_recv',
    ],
    reason: `${FIRST_WRITE}: EAGAIN on a non-blocking socket, for EINPROGRESS is not what a write may say.`,
    lines: [`- ${CALL} = -1 EINPROGRESS`, `+ ${CALL} = 0`, `+ ${SEND} = -1 EAGAIN`],
  },
  {
    mode: INTEGRITY,
    cases: ['connect/send_timeout'],
    reason: `${FIRST_WRITE}: EAGAIN after SO_SNDTIMEO, as a send has it.`,
    lines: [`- ${LOST} = -1 EINPROGRESS`, `+ ${LOST} = 0`, '+ send(fd, request, REQUEST, 0) = -1 EAGAIN'],
  },
  {
    mode: INTEGRITY,
    cases: ['connect/poll_timeout'],
    reason: `${FIRST_WRITE}: EAGAIN, for nobody answers yet.`,
    lines: [`- ${LOST} = -1 EINPROGRESS`, `+ ${LOST} = 0`, '+ send(fd, request, REQUEST, 0) = -1 EAGAIN'],
  },
  ...(['ETIMEDOUT', 'EINTR'] as const).map((error) => ({
    mode: INTEGRITY,
    cases: error === 'EINTR' ? ['connect/interrupted', 'connect/restarted'] : ['connect/timed_out'],
    reason: `${FIRST_WRITE}: ${error}.`,
    lines: [`- ${LOST} = -1 ${error}`, `+ ${LOST} = 0`, `+ ${SEND} = -1 ${error}`],
  })),
  {
    mode: INTEGRITY,
    cases: ['connect/shut_down'],
    reason:
      'A program that writes nothing never connects: shutdown() ends what was not begun, and the server sees nothing of it.',
    lines: ['- got: "0 bytes 00000000" then the end', '+ got: "" then ECONNRESET'],
  },
  {
    mode: INTEGRITY,
    cases: ['readiness/long_wait'],
    reason: 'A wait for an answer to fewer bytes than are protected is explained after two seconds.',
    lines: [],
    says: /^knockify: descriptor \d+ waits for an answer.*3 so far[^\n]*$/,
  },
  {
    mode: INTEGRITY,
    cases: ['firstdata/few_then_shutdown', 'descriptors/passed_begun_ended'],
    reason: `${UNWRITTEN}: EPROTONOSUPPORT from shutdown().`,
    lines: [
      ...['- shutdown(fd, SHUT_WR) = 0', '- got: "3 bytes 65f015fd" then the end'],
      '+ shutdown(fd, SHUT_WR) = -1 EPROTONOSUPPORT',
    ],
    says: ENDED_EARLY,
  },
  {
    mode: INTEGRITY,
    cases: ['descriptors/copy_ended'],
    reason: `${UNWRITTEN}: EPROTONOSUPPORT from shutdown(), through whichever copy.`,
    lines: [
      ...['- shutdown(copy, SHUT_WR) = 0', '- got: "3 bytes 65f015fd" then the end'],
      '+ shutdown(copy, SHUT_WR) = -1 EPROTONOSUPPORT',
    ],
    says: ENDED_EARLY,
  },
  {
    mode: INTEGRITY,
    cases: ['firstdata/few_then_close', 'descriptors/counted'],
    reason: `${UNWRITTEN}: by a line, for close() must not fail.`,
    lines: [],
    says: /^(knockify: descriptor \d+ was closed with 3 bytes that were never sent[^\n]*\n?)+$/,
  },
  {
    mode: INTEGRITY,
    cases: ['descriptors/standard_moved'],
    reason: `${UNWRITTEN}: by a line, where stderr goes.`,
    lines: ['- lines: 0', '+ lines: 1', '- lines: 0', '+ lines: 1'],
  },
  {
    mode: INTEGRITY,
    cases: ['firstdata/by_sendfile'],
    reason: 'The library must see the protected bytes: sendfile() and splice() work only after them.',
    lines: [
      ...['- sendfile(fd, file, &offset, REQUEST) = 50', '- offset 54'],
      ...['- sendfile(fd, file, NULL, REQUEST) = 54', '- shutdown(fd, SHUT_WR) = 0'],
      ...['- got: "104 bytes 1239d975" then the end', '- close(fd) = 0'],
      ...['+ sendfile(fd, file, &offset, REQUEST) = -1 EPROTONOSUPPORT', '+ offset 4'],
    ],
    says: MUST_BE_WRITTEN,
  },
  {
    mode: INTEGRITY,
    cases: ['firstdata/header_then_sendfile'],
    reason: 'The same, behind a header that is too short.',
    lines: [
      ...['- sendfile(fd, file, NULL, REQUEST) = 54', '- shutdown(fd, SHUT_WR) = 0'],
      ...['- got: "62 bytes 75938cc5" then the end', '- close(fd) = 0'],
      '+ sendfile(fd, file, NULL, REQUEST) = -1 EPROTONOSUPPORT',
    ],
    says: MUST_BE_WRITTEN,
  },
  {
    mode: INTEGRITY,
    cases: ['firstdata/by_splice'],
    reason: 'The same for splice().',
    lines: [
      ...['- splice(ends[0], NULL, fd, NULL, REQUEST, SPLICE_F_MOVE) = 54', '- shutdown(fd, SHUT_WR) = 0'],
      ...['- got: "54 bytes e3bb244e" then the end', '- close(fd) = 0'],
      '+ splice(ends[0], NULL, fd, NULL, REQUEST, SPLICE_F_MOVE) = -1 EPROTONOSUPPORT',
    ],
    says: MUST_BE_WRITTEN,
  },
  {
    mode: INTEGRITY,
    cases: ['python/sent_as_file', 'python/sent_file'],
    reason: "Python's sendfile() falls back to send() where the system's is refused: only the line differs.",
    lines: [],
    says: MUST_BE_WRITTEN,
  },
  {
    mode: BOTH,
    cases: ['firstdata/fast_open_option'],
    reason:
      'TCP fast open would send a SYN without a token: the option is taken back, and connect() connects.',
    lines: ['- still set: 1', '+ still set: 0'],
  },
  {
    mode: INTEGRITY,
    cases: ['options/defaults'],
    reason: 'What the handshake settles is not settled before the first write.',
    lines: [
      ...['-   SO_SNDBUF 69120', '+   SO_SNDBUF 16384', '-   TCP_MAXSEG 1448', '+   TCP_MAXSEG 536'],
      ...['-   TCP_WINDOW_CLAMP 64088', '+   TCP_WINDOW_CLAMP 0'],
    ],
  },
  {
    mode: INTEGRITY,
    cases: ['options/set_before'],
    reason: 'The same for a segment size that the program chose.',
    lines: ['-   TCP_MAXSEG 988', '+   TCP_MAXSEG 536'],
  },
  {
    mode: INTEGRITY,
    cases: ['options/tcp_info'],
    reason: 'The state is the true one until the first write.',
    lines: ['- TCP_INFO: ESTABLISHED', '+ TCP_INFO: SYN_SENT'],
  },
  {
    mode: BOTH,
    cases: ['descriptors/no_descriptor_left'],
    reason: 'The library needs one descriptor for the time of a connect(), to reach the control process.',
    lines: [
      '- connect_to(fd, SERVER, ECHO) = 0',
      '+ connect_to(fd, SERVER, ECHO) = -1 EPROTONOSUPPORT',
      '- connect_to(fd, SERVER, ECHO) = -1 EISCONN',
      '+ connect_to(fd, SERVER, ECHO) = 0',
    ],
    says: /cannot reach the control process at .*: Too many open files$/,
  },
  {
    mode: BOTH,
    cases: ['listen/not_in_the_group'],
    reason:
      'The guard needs SO_REUSEPORT on the listener, so that bind() lets a second program of the same user in which sets it, too.',
    lines: ['- bind fails EADDRINUSE', '+ bind succeeds'],
  },
  {
    mode: BOTH,
    cases: ['listen/own_group_program'],
    reason: "A reuseport program of the application's own would take the guard's place.",
    lines: [
      '- setsockopt(fd, SOL_SOCKET, 51 , &filter, sizeof(filter)) = 0',
      '+ setsockopt(fd, SOL_SOCKET, 51 , &filter, sizeof(filter)) = -1 EPROTONOSUPPORT',
    ],
    says: /keeps its guard/,
  },
  {
    mode: BOTH,
    cases: ['listen/accepted_options'],
    reason: 'Accepted sockets inherit the SO_REUSEPORT that the guard needs; it has no effect on them.',
    lines: ['- SO_REUSEPORT 0', '+ SO_REUSEPORT 1'],
  },
  {
    mode: INTEGRITY,
    cases: ['listen/listener_options'],
    reason: 'Connections are handed over with their first segment, and their SYN is kept for its inspection.',
    lines: ['- TCP_DEFER_ACCEPT 0, TCP_SAVE_SYN 0', '+ TCP_DEFER_ACCEPT 31, TCP_SAVE_SYN 1'],
  },
];

/** Differences that are to go. The test prints them, and docs/conformance.md calls them what they are. */
export const defects: readonly Deviation[] = [
  {
    mode: BOTH,
    cases: ['readiness/other_thread_edge'],
    racy: true,
    reason:
      'arming takes the socket back for a moment, and an edge-triggered epoll of another thread may see HUP',
    lines: [],
  },
];
