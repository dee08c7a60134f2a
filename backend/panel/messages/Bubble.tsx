import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import MediaPreview from './MediaPreview.js';

/** Returns the parts of a content that its text does not include. */
function detailsOf(content: MessageView['content']): [string, string][] {
  if (content?.type === 'poll') return content.options.map((option, index) => [`Choice ${index + 1}`, option]);
  if (content?.type === 'calendar_event') return eventDetails(content);
  if (content?.type === 'contact')
    return content.contacts.map((card) => ['Contact', [card.name, card.phone].filter(Boolean).join(', ')]);
  if (content?.type === 'unknown') return [['WhatsApp calls it', content.whatsappType]];
  return [];
}

const timeOf = (iso: string): string => new Date(iso).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

/** The times of an event are those of the browser's time zone. */
function eventDetails(event: Extract<MessageView['content'], { type: 'calendar_event' }>): [string, string][] {
  const rows: [string, string | null][] = [
    ['Cancelled', event.isCancelled ? 'This event does not take place.' : null],
    ['Begins', event.startsAt ? timeOf(event.startsAt) : null],
    ['Ends', event.endsAt ? timeOf(event.endsAt) : null],
    ['Place', event.location],
    ['About', event.description],
    ['Call', 'callType' in event && event.callType !== 'none' ? `${event.callType} call` : null],
  ];
  return rows.filter((row): row is [string, string] => row[1] !== null && row[1] !== '');
}

type Location = Extract<MessageView['content'], { type: 'location' }>;

const mapOf = (latitude: number, longitude: number): string =>
  `https://www.openstreetmap.org/?mlat=${latitude}&mlon=${longitude}#map=16/${latitude}/${longitude}`;

/** A place with what is known of it, and a link to a map. The text of the message may be the name or the address. */
const Place: React.FC<{ place: Location; text: string | null }> = ({ place, text }) => {
  const { latitude, longitude } = place;
  return (
    <div data-testid="place">
      {place.name && place.name !== text && <p className="cq-text">{place.name}</p>}
      {place.address && place.address !== text && <p className="cq-text">{place.address}</p>}
      {'live' in place && place.live && <p className="cq-soft">A live location: this is where it began.</p>}
      {latitude === null || longitude === null ? (
        <p className="cq-soft">WhatsApp gave no coordinates.</p>
      ) : (
        <p>
          <small>{`${latitude}, ${longitude}`}</small>{' '}
          <a href={mapOf(latitude, longitude)} target="_blank" rel="noopener noreferrer">
            Open the map
          </a>
        </p>
      )}
    </div>
  );
};

/** A message as a phone shows it. Markup in its text is shown as text. */
const Bubble: React.FC<{ message: MessageView }> = ({ message }) => (
  <div className={`cq-bubble ${message.direction === 'outbound' ? 'cq-ours' : ''}`}>
    {message.media && <MediaPreview messageId={message.id} media={message.media} alt={message.text ?? message.type} />}
    {message.text && <p className="cq-text">{message.text}</p>}
    {message.revokedAt !== null && <p className="cq-soft">Deleted for everyone.</p>}
    {message.editedAt !== null && <p className="cq-soft">Edited</p>}
    {message.content?.type === 'location' && <Place place={message.content} text={message.text} />}
    {detailsOf(message.content).map(([name, value]) => (
      <p key={name + value}>
        <small>{name}</small> {value}
      </p>
    ))}
    {!message.text && !message.media && message.content?.type !== 'location' && detailsOf(message.content).length === 0 && (
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
