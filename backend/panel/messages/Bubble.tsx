import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import MediaPreview from './MediaPreview.js';

/** Returns the parts of a content that its text does not include. */
function detailsOf(content: MessageView['content']): [string, string][] {
  if (content?.type === 'location') return [['Place', `${content.latitude}, ${content.longitude}`]];
  if (content?.type === 'poll') return content.options.map((option, index) => [`Choice ${index + 1}`, option]);
  if (content?.type === 'contact')
    return content.contacts.map((card) => ['Contact', [card.name, card.phone].filter(Boolean).join(', ')]);
  if (content?.type === 'unknown') return [['WhatsApp calls it', content.whatsappType]];
  return [];
}

/** A message as a phone shows it. Markup in its text is shown as text. */
const Bubble: React.FC<{ message: MessageView }> = ({ message }) => (
  <div className={`cq-bubble ${message.direction === 'outbound' ? 'cq-ours' : ''}`}>
    {message.media && <MediaPreview media={message.media} alt={message.text ?? message.type} />}
    {message.text && <p className="cq-text">{message.text}</p>}
    {message.revokedAt !== null && <p className="cq-soft">Deleted for everyone.</p>}
    {message.editedAt !== null && <p className="cq-soft">Edited</p>}
    {detailsOf(message.content).map(([name, value]) => (
      <p key={name + value}>
        <small>{name}</small> {value}
      </p>
    ))}
    {!message.text && !message.media && detailsOf(message.content).length === 0 && (
      <p className="cq-soft">
        {message.content ? `A message of type ${message.type}.` : 'The content was removed or is not stored.'}
      </p>
    )}
    {message.reactions.length > 0 && (
      <p data-testid="reactions">
        {message.reactions.map(({ emoji, by }) => (
          <span key={by} title={by}>
            {emoji} <small>{by}</small>{' '}
          </span>
        ))}
      </p>
    )}
  </div>
);
export default Bubble;
