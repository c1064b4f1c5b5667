/** The harness itself: what is not as expected fails, whatever it is, and a mistake in a case file is told. */
import path from 'node:path';
import t from 'tap';
import { type CaseFile, readCaseFile } from './support/case-file.ts';
import { problemsOf } from './support/run-suite.ts';
import { startWorld } from './support/world.ts';

const folder = path.join(import.meta.dirname, 'harness');

/** Each is wrong in what its name says, and in nothing else. */
const wrong = `
rule: what is not so
diagnostics: []
cases:
  - {name: status, expect: {status: 404}}
  - {name: closed, expect: {closed: true}}
  - {name: response header content-type, expect: {headers: {content-type: text/html}}}
  - {name: response header x-never, expect: {headers: {x-never: '~.'}}}
  - {name: response header x-echo-pod, expect: {absentHeaders: [x-echo-pod]}}
  - {name: location, expect: {location: http://echo/}}
  - {name: location, request: {path: /moved}, expect: {status: 302, location: 'http://echo/else'}}
  - {name: body, expect: {body: nothing}}
  - {name: grpc-status, expect: {grpc: {status: 0}}}
  - {name: grpc-status, request: {to: 'echo:7070', grpc: {service: a, method: b}}, expect: {grpc: {status: 5}}}
  - {name: backend, request: {to: 'echo-v1:80'}, expect: {backend: echo-v2}}
  - {name: pods that were asked, expect: {notForwarded: true}}
  - {name: attempts, expect: {attempts: 2}}
  - {name: mirrored to, expect: {mirrored: [echo-v2]}}
  - {name: mirrored to, request: {path: /mirrored, to: 'echo:80'}, expect: {mirrored: [echo-v1, echo-v1]}}
  - {name: method at the backend, request: {method: PUT}, expect: {seen: {method: GET}}}
  - {name: path at the backend, request: {path: /a}, expect: {seen: {path: /}}}
  - {name: host at the backend, request: {host: a.example}, expect: {seen: {host: b.example}}}
  - {name: version at the backend, expect: {seen: {version: '2.0'}}}
  - {name: body at the backend, request: {method: POST, body: one}, expect: {seen: {body: two}}}
  - {name: header at the backend a, request: {headers: {a: '1'}}, expect: {seen: {headers: {a: '2'}}}}
  - {name: header at the backend a, request: {headers: [[a, '1'], [a, '2']]}, expect: {seen: {headers: {a: '1'}}}}
  - {name: header at the backend b, request: {headers: {b: '1'}}, expect: {seen: {absentHeaders: [b]}}}
  - {name: request at the backend, request: {path: /moved}, expect: {status: 302, seen: {path: /moved}}}
  - {name: share of echo-v1, request: {times: 4}, expect: {shares: {echo-v1: [0.9, 1], echo-v2: [0, 1]}}}
  - {name: 2 of 4 were answered by echo-v2, request: {times: 4, to: 'echo:80'}, expect: {shares: {echo-v1: [0, 1]}}}
  - {name: answer to CONNECT, expect: {refused: 404}}
  - {name: answer to CONNECT, request: {authority: '10.96.1.1:81'}, expect: {status: 200}}
  - {name: access log response_code, expect: {log: {response_code: '404'}}}
  - {name: took at least ms, expect: {atLeastMs: 60000}}
  - {name: took at most ms, expect: {atMostMs: 0}}
  - {name: nothing to save from header x-never, expect: {}, save: {it: {header: x-never, match: '(.+)'}}}
  - name: 'step 2: status'
    steps:
      - {request: {}, expect: {status: 200}}
      - {request: {}, expect: {status: 404}}
`;

t.test('an expectation that is not met fails, each by its own name', async (t) => {
  const file = readCaseFile(wrong, 'wrong');
  const world = await startWorld(folder, file);
  t.teardown(() => world.close());
  for (const one of file.cases) {
    const problems = await problemsOf(world, one);
    if (/^\d/.test(one.name)) t.match(problems, [/were answered by echo-v\d$/], one.name);
    else t.ok(problems.length === 1 && problems[0]?.startsWith(one.name), `${one.name}: ${problems.join('; ')}`);
  }
});

t.test('the same world meets what is true, values saved from one step to the next included', async (t) => {
  const text = `
rule: what is so
cases:
  - {name: forwarded, request: {path: /a}, expect: {status: 200, body: '~echo-v\\d GET /a', seen: {path: /a}}}
  - name: saved
    steps:
      - {request: {headers: {x-echo-headers: 'x-one=a:b'}}, save: {one: {header: x-one, match: 'a:(.*)'}}}
      - {request: {path: '/\${one}'}, expect: {seen: {path: /b}}}
`;
  const file = readCaseFile(text, 'true');
  const world = await startWorld(folder, file);
  t.teardown(() => world.close());
  for (const one of file.cases) t.same(await problemsOf(world, one), [], one.name);
});

t.test('a key that does not exist is told with its place', async (t) => {
  const read = (text: string): CaseFile => readCaseFile(text, 'cases.yaml');
  t.throws(() => read('{rule: a, cases: [{name: b, expect: {stauts: 200}}]}'), /stauts/);
  t.throws(() => read('{rule: a, cases: []}'), /cases/);
  t.throws(() => read('{cases: [{name: b}]}'), /rule/);
});

t.test('a folder whose Gateway does not exist is not taken for one that works', async (t) => {
  const file = readCaseFile('{rule: a, gateway: a/b, cases: [{name: b}]}', 'cases.yaml');
  await t.rejects(startWorld(folder, file), /no Gateway a\/b/);
});
