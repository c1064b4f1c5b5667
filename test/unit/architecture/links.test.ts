/** Links and pictures of the pages lead to files and headings that are there. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

const root = path.join(import.meta.dirname, '../../..');
const pages = globSync('{*,docs/*,bench/*,native/*,examples/**/*,test/**/*}.md', { cwd: root });

function withoutCode(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```/gm, '');
}

/** As GitHub makes them. */
function anchorsOf(text: string): Set<string> {
  const headings = withoutCode(text).matchAll(/^#+ (.*)$/gm);
  return new Set([...headings].map(([, heading = '']) => anchorOf(heading)));
}

function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');
}

/** Of a page at `page` with that text; each said in words. */
function deadLinks(page: string, text: string): string[] {
  const links = [...withoutCode(text).matchAll(/\]\(([^()\s]+)\)/g)].map(([, link = '']) => link);
  return links
    .filter((link) => !/^[a-z]+:/.test(link))
    .flatMap((link) => {
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? page : path.join(path.dirname(page), file);
      if (!existsSync(path.join(root, target))) return [`${page}: ${link} is not there`];
      if (anchor === undefined || !target.endsWith('.md')) return [];
      const there = file === '' ? text : readFileSync(path.join(root, target), 'utf8');
      return anchorsOf(there).has(anchor) ? [] : [`${page}: ${link} is no heading`];
    });
}

t.test('every link of every page leads somewhere', async (t) => {
  t.ok(pages.includes('README.md'));
  for (const page of pages) t.same(deadLinks(page, readFileSync(path.join(root, page), 'utf8')), [], page);
});

t.test('a dead link is found', async (t) => {
  const text = '# One, two\n[a](none.md) [b](#one-two) [c](#three) ![d](x.svg) [e](https://example.com/x)';
  t.same(deadLinks('README.md', text), [
    'README.md: none.md is not there',
    'README.md: #three is no heading',
    'README.md: x.svg is not there',
  ]);
});
