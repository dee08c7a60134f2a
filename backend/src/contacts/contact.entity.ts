import { foldText } from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** One person as one session knows them. Every id of the person is a row of `contact_forms`. */
@Entity({ name: 'contacts' })
@Index('contacts_session', ['sessionId', 'id'])
@Index('contacts_account', ['accountId', 'id'])
export class ContactRow {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(column.id()) sessionId: string;
  /** The number as WhatsApp spells it, digits only. Null while only the LID is known. */
  @Column(orNull(column.string(20))) phone: string | null;
  /** `…@lid`. Null while only the number is known. */
  @Column(orNull(column.string(40))) lid: string | null;
  @Column(orNull(column.string(256))) name: string | null;
  /** `foldText(name)`, which searches compare: no database folds in this way. */
  @Column(orNull(column.text())) foldedName: string | null;
  @Column(column.time()) createdAt: Date;
  @Column(column.time()) updatedAt: Date;
}

/** The columns of a name. Every write of a name uses them. */
export const nameColumns = (name: string | null): Pick<ContactRow, 'name' | 'foldedName'> => ({
  name,
  foldedName: name === null ? null : foldText(name),
});

/** One id under which a person of a session is known: the number's id, the LID, or another spelling of the number. */
@Entity({ name: 'contact_forms' })
@Index('contact_forms_account', ['accountId', 'waId'])
@Index('contact_forms_contact', ['contactId'])
export class ContactForm {
  @PrimaryColumn(column.id()) sessionId: string;
  @PrimaryColumn(column.string(40)) waId: string;
  @Column(column.id()) accountId: string;
  @Column(column.id()) contactId: string;
}
