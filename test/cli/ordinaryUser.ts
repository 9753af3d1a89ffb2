/** Runs what follows without root's privileges; it may only read files, for the tests may lie where only root can. */
export const ORDINARY_USER: readonly string[] = [
  'setpriv',
  '--reuid=65534',
  '--regid=65534',
  '--clear-groups',
  '--inh-caps=+dac_read_search',
  '--ambient-caps=+dac_read_search',
];
