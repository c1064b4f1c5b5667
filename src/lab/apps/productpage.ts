/**
 * Bookinfo's product page: HTML made of what details and reviews really answered. DELETE succeeds, so that a policy that
 * forbids it has something to forbid.
 */
import { type AppHandler, json } from './server.ts';
import { fetchJson, type UpstreamAnswer } from './upstream.ts';

interface Review {
  readonly reviewer: string;
  readonly text: string;
  readonly rating?: { readonly stars?: number; readonly color?: string; readonly error?: string };
}

export function createProductpage(detailsHost: string, reviewsHost: string): AppHandler {
  return async (request) => {
    if (request.path !== '/productpage' && request.path !== '/') return undefined;
    if (request.method === 'DELETE') return json(200, { deleted: request.path });
    const [details, reviews] = await Promise.all([
      fetchJson(detailsHost, '/details/0', request),
      fetchJson(reviewsHost, '/reviews/0', request),
    ]);
    return { status: 200, contentType: 'text/html; charset=utf-8', body: page(details, reviews) };
  };
}

function page(details: UpstreamAnswer, reviews: UpstreamAnswer): string {
  return `<!DOCTYPE html>
<html>
<head><title>Simple Bookstore App</title></head>
<body>
<h1>The Comedy of Errors</h1>
<section id="details"><h2>Book Details</h2>
${section(details, 'product details', detailsHtml)}
</section>
<section id="reviews"><h2>Book Reviews</h2>
${section(reviews, 'product reviews', reviewsHtml)}
</section>
</body>
</html>
`;
}

function section(answer: UpstreamAnswer, what: string, render: (value: unknown) => string): string {
  if (answer.kind === 'answer' && answer.status === 200) return render(answer.value);
  const reason = answer.kind === 'failed' ? answer.reason : `status ${answer.status}`;
  return `<h3>Error fetching ${what}!</h3>\n<p>Sorry, ${what} are currently unavailable for this book (${escapeHtml(reason)}).</p>`;
}

function detailsHtml(value: unknown): string {
  const rows = Object.entries(value as Record<string, unknown>).map(
    ([name, fact]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(String(fact))}</dd>`,
  );
  return `<dl>\n${rows.join('\n')}\n</dl>`;
}

function reviewsHtml(value: unknown): string {
  const { podname, reviews } = value as { podname: string; reviews: readonly Review[] };
  const quotes = reviews.map(({ reviewer, text, rating }) => {
    const shown = rating?.stars === undefined ? (rating?.error ?? '') : '★'.repeat(Math.min(5, rating.stars));
    const stars = shown === '' ? '' : ` <font color="${escapeHtml(rating?.color ?? '')}">${escapeHtml(shown)}</font>`;
    return `<blockquote>${escapeHtml(text)} <small>${escapeHtml(reviewer)}</small>${stars}</blockquote>`;
  });
  return `${quotes.join('\n')}\n<p>Reviews served by: <u>${escapeHtml(podname)}</u></p>`;
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}
