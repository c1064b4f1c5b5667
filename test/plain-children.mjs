// Loaded into every test process (test/run.ts): the programs it starts run as users run them, without tap's hooks, which
// would be in the way of ordinary users' programs and double what each start costs.
import processOnSpawn from 'process-on-spawn';

processOnSpawn.removeAllListeners();
