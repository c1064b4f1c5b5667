/** Manifests against the types of Kubernetes' API: only there is a field too many an error. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

const root = path.resolve(import.meta.dirname, '../../..');

/** `type`: as `kubernetes-models` has it, `apps/v1/Deployment`. */
export interface TypedManifest {
  readonly type: string;
  readonly manifest: unknown;
}

/** What the compiler says of the manifests as literals of these types; empty: nothing. */
export function unknownFields(manifests: readonly TypedManifest[]): string {
  const cache = path.join(root, '.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(path.join(cache, 'deploy-'));
  try {
    const text = manifests.map(({ type, manifest }, i) => {
      const kind = type.split('/').at(-1);
      const imported = `import type { I${kind} as T${i} } from 'kubernetes-models/${type}';`;
      return `${imported}\nexport const m${i}: T${i} = ${JSON.stringify(manifest)};`;
    });
    const file = path.join(folder, 'manifests.ts');
    writeFileSync(file, text.join('\n'));
    const compiler = path.join(root, 'node_modules/typescript/bin/tsc');
    const strict = [
      '--ignoreConfig',
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      '--module',
      'nodenext',
      '--types',
      'node',
    ];
    const { status, stdout } = spawnSync(process.execPath, [compiler, ...strict, file], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH },
    });
    return status === 0 ? '' : stdout;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
