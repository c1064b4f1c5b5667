/** The page at `/`: what there is, as HTML for a browser and as plain text for everybody else. */
import type { IncomingMessage } from 'node:http';
import type { Reply, Routes } from './reply.ts';

export function indexPage(request: IncomingMessage, routes: Routes, views: readonly string[]): Reply {
  const rows = [...routes].map(([path, { about, get }]) => ({ path, about, link: get !== undefined }));
  const all = [
    ...rows,
    ...views.map((name) => ({ path: `/config_dump?view=${name}`, about: 'a view of it', link: true })),
  ];
  if (request.headers.accept?.includes('text/html') !== true) {
    const lines = all.map(({ path, about }) => `${path.padEnd(38)} ${about}\n`);
    return { status: 200, contentType: 'text/plain; charset=utf-8', body: lines.join('') };
  }
  const cells = all.map(({ path, about, link }) => {
    const shown = escapeHtml(path);
    return `<tr><td>${link ? `<a href="${shown}">${shown}</a>` : shown}</td><td>${escapeHtml(about)}</td></tr>\n`;
  });
  const body = `<!doctype html>\n<html lang="en"><head><title>Ambit</title></head><body><table>\n${cells.join('')}</table></body></html>\n`;
  return { status: 200, contentType: 'text/html; charset=utf-8', body };
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
