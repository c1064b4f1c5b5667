// Loaded into every test process (test/run.ts): the programs it starts run as users run them, without tap's hooks, which
// would write where an ordinary user may not and double what each start costs. Tap hands them on by the environment,
// and again whenever a process is started.
import process from 'node:process';
import processOnSpawn from 'process-on-spawn';

processOnSpawn.removeAllListeners();
const options = process.env.NODE_OPTIONS ?? '';
process.env.NODE_OPTIONS = options
  .split(' ')
  .filter((word) => !word.includes('@tapjs/'))
  .join(' ');
