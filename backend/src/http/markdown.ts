import MarkdownIt from 'markdown-it';

/**
 * Renders the Markdown of the guides. HTML in a document is shown as text, and addresses such as `javascript:` are no links (both are defaults of
 * the library, with `html: false`).
 */

/** Returns where a link of a document leads; null where it leads to nothing that is served: its text remains then. */
export type Resolve = (href: string) => string | null;

export interface Rendered {
  html: string;
  /** The sections of the second level, for a table of contents. */
  sections: readonly { id: string; title: string }[];
}

export type Token = ReturnType<MarkdownIt['parse']>[number];
type Attribute = 'href' | 'src';

const markdown = createMarkdown();

function createMarkdown(): MarkdownIt {
  const made = new MarkdownIt({ html: false, linkify: false, typographer: false });
  // Wide tables scroll by themselves, also by keyboard. The page never does so sideways.
  made.renderer.rules['table_open'] = () => '<div class="wide" tabindex="0" role="region" aria-label="Table"><table>';
  made.renderer.rules['table_close'] = () => '</table></div>';
  return made;
}

export function renderMarkdown(text: string, resolve: Resolve): Rendered {
  const tokens = markdown.parse(withoutComments(text), {});
  const usedIds = new Map<string, number>();
  const sections: { id: string; title: string }[] = [];
  for (const [index, token] of tokens.entries()) {
    if (token.type === 'inline') resolveLinks(token.children ?? [], resolve);
    if (token.type !== 'heading_open') continue;
    const title = textOf(tokens[index + 1]?.children ?? []);
    const id = uniqueId(anchorOf(title), usedIds);
    token.attrSet('id', id);
    if (token.tag === 'h2') sections.push({ id, title });
  }
  return { html: markdown.renderer.render(tokens, markdown.options, {}), sections };
}

/** The same document as Markdown: its links lead to what is served, as Markdown where there is such a form. */
export function rewriteMarkdown(text: string, resolve: Resolve): string {
  return text.replace(/(!?)\[([^[\]]*)\]\(([^)\s]+)\)/g, (link, mark: string, label: string, href: string) => {
    const target = resolve(href);
    if (target === href) return link;
    return target === null ? label : `${mark}[${label}](${target})`;
  });
}

/** Comments say how a page was made. They are no text for readers. */
const withoutComments = (text: string): string =>
  text
    .split(/^<!--/m)
    .map((part, index) => (index === 0 ? part : afterComment(part)))
    .join('');

function afterComment(part: string): string {
  const end = part.indexOf('-->');
  return end < 0 ? `<!--${part}` : part.slice(end + 3).replace(/^\n/, '');
}

/** What is left of a link that leads nowhere is its text; of a picture, its description. */
function resolveLinks(tokens: Token[], resolve: Resolve): void {
  const hidden: boolean[] = [];
  for (const token of tokens) {
    if (token.type === 'link_open') hidden.push(!isResolved(token, 'href', resolve));
    if (token.type === 'link_open' || token.type === 'link_close') token.hidden = hidden.at(-1)!;
    if (token.type === 'link_close') hidden.pop();
    if (token.type === 'image' && !isResolved(token, 'src', resolve)) Object.assign(token, { type: 'text', tag: '' });
  }
}

function isResolved(token: Token, attribute: Attribute, resolve: Resolve): boolean {
  const target = resolve(token.attrGet(attribute) ?? '');
  if (target !== null) token.attrSet(attribute, target);
  return target !== null;
}

const textOf = (tokens: readonly Token[]): string =>
  tokens.map(({ type, content }) => (type === 'image' ? '' : content)).join('');

/** The anchor that GitHub gives a heading, so that a link works in the repository and here. */
const anchorOf = (title: string): string =>
  title
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, '')
    .replaceAll(' ', '-');

function uniqueId(id: string, used: Map<string, number>): string {
  const count = used.get(id) ?? 0;
  used.set(id, count + 1);
  return count === 0 ? id : `${id}-${count}`;
}
