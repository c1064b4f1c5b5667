/** `npm run demo` as a newcomer meets it: every check holds, wrong words are told, and without namespaces it says so. */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { canMakeNamespaces, demoScript, failedChecks, runDemo, users } from './demo-run.ts';

/** Something of each figure that only this preset says. */
const figures = {
  article: /sa\/sleep_to_server_waypoint_proxy_spiffe[\s\S]*listener inbound_CONNECT_terminate/,
  today: /outbound\|waypoint\|default\/productpage-waypoint[\s\S]*listener connect_terminate/,
};

t.setTimeout(240_000);
t.jobs = 2;

if (await canMakeNamespaces()) {
  for (const preset of ['legacy', 'modern']) {
    for (const user of users) {
      t.test(`every check holds over ${preset}, as ${user.name}`, async (t) => {
        const view = user === users[0] ? ['--view'] : [];
        const { code, output } = await runDemo(t, ['--preset', preset, ...view], { user });
        t.equal(code, 0, output);
        t.match(output, /^All 20 checks held/m);
        t.same(failedChecks(output), []);
        t.notMatch(output, '\u001b', 'no colours in a pipe');
        if (view.length > 0) t.match(output, preset === 'legacy' ? figures.article : figures.today);
      });
    }
  }

  t.test('without namespaces it ends with 1, says why and how to mend it; loopback works', async (t) => {
    const demo = `"$0" "$1"`;
    const child = spawn(
      'unshare',
      [
        ...['--user', '--map-root-user', '--net', 'sh', '-c'],
        `ip link set lo up; echo 0 >/proc/sys/user/max_user_namespaces; echo 0 >/proc/sys/user/max_net_namespaces
         ${demo}; echo "ended with $?"; ${demo} --loopback; echo "ended with $?"`,
        process.execPath,
        demoScript,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    t.teardown(() => child.kill('SIGKILL'));
    const [out, complaint] = await Promise.all([text(child.stdout), text(child.stderr)]);
    t.match(complaint, /nothing was intercepted.*max_user_namespaces=0/);
    t.match(complaint, /remedy: .*sysctl/);
    t.match(complaint, '--loopback');
    t.same(out.match(/ended with \d+/g), ['ended with 1', 'ended with 0'], out);
    t.match(out, /^All 5 checks held/m);
  });
}

t.test('wrong arguments are all told at once, with exit code 2', async (t) => {
  const { code, output } = await runDemo(t, ['--preset', 'old', '--keep=3', '--what', 'word', '--break', 'nobody']);
  t.equal(code, 2);
  for (const problem of [
    '--preset: say',
    '--keep takes no value',
    '--what: no such',
    'word: no such',
    '--break: say',
  ]) {
    t.match(output, problem);
  }
});

t.test('options that contradict each other are told', async (t) => {
  const { code, output } = await runDemo(t, ['--loopback', '--preset', 'modern', '--keep']);
  t.equal(code, 2);
  t.match(output, '--loopback shows the legacy preset only');
  t.match(output, '--loopback does not go with --keep');
});

t.test('--help needs nothing and ends with 0', async (t) => {
  const { code, output } = await runDemo(t, ['--help', '--nonsense']);
  t.equal(code, 0);
  t.match(output, /^Usage: npm run demo/);
});
