#include "decode/envelopes.h"

namespace sheaf::decode {

using wire::ProtobufReader;
using wire::Tag;
using wire::WireType;

bool ReadEnvelope(std::string_view message, uint32_t attributes_field, RequestContext* context, std::string* envelope,
                  std::string* service_name) {
  envelope->clear();
  ProtobufReader reader(message);
  const char* field_begin = message.data();
  while (reader.Next()) {
    if (reader.tag() == Tag(2, WireType::kBytes)) {
      reader.Bytes();
    } else if (reader.tag() == Tag(1, WireType::kBytes)) {
      const std::string_view holder = reader.Bytes();
      if (reader.ok() && !CheckAttributeHolder(holder, attributes_field, context, service_name)) return false;
    } else {
      reader.Skip();
    }
    if (!reader.ok()) break;
    if (reader.tag() != Tag(2, WireType::kBytes)) {
      context->memory->Reserve(envelope, static_cast<size_t>(reader.position() - field_begin));
      envelope->append(field_begin, reader.position());
    }
    field_begin = reader.position();
  }
  return reader.ok() || context->Malformed(reader.position(), "resource or scope");
}

void EnvelopeColumns::Change(const Envelopes& envelopes, int64_t row, RequestContext* context) {
  Fill(row);
  serial_ = envelopes.serial;
  // The name is text taken out of an envelope that stays as sent: repaired here, and nothing is lost.
  service_.Set(IsUtf8(envelopes.service_name) ? std::string_view(envelopes.service_name)
                                              : context->Repaired(envelopes.service_name));
  resource_.Set(envelopes.resource);
  scope_.Set(envelopes.scope);
}

void EnvelopeColumns::Fill(int64_t rows) {
  service_.Fill(filled_, rows);
  resource_.Fill(filled_, rows);
  scope_.Fill(filled_, rows);
  filled_ = rows;
}

}  // namespace sheaf::decode
