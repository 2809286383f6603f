#include "data/text/tokenizer.h"

#include <charconv>
#include <utility>

#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "data/storage/file_system.h"
#include "data/text/bpe_encoder.h"
#include "data/text/prefix_matcher.h"
#include "data/text/text_normalizer.h"
#include "data/text/utf8.h"

namespace moe {

// Later members refer to earlier ones: made in place, never moved.
struct Tokenizer::Parts {
  Parts(std::string model_bytes, SentencePieceModel parsed)
      : bytes(std::move(model_bytes)),
        model(std::move(parsed)),
        user_defined(model.UserDefinedTexts()),
        normalizer(model, user_defined),
        encoder(model, user_defined) {}
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  const std::string bytes;
  const SentencePieceModel model;
  const PrefixMatcher user_defined;
  const TextNormalizer normalizer;
  const BpeEncoder encoder;
};

Tokenizer::Tokenizer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(
    const std::string& path) {
  ASSIGN_OR_RETURN(std::string bytes,
                   PosixFileSystem().ReadFile(path, kMaxModelBytes));
  auto tokenizer = FromBytes(std::move(bytes));
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), path);
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromBytes(
    std::string model_bytes) {
  ASSIGN_OR_RETURN(SentencePieceModel model,
                   ParseSentencePieceModel(model_bytes));
  return std::unique_ptr<Tokenizer>(new Tokenizer(
      std::make_unique<Parts>(std::move(model_bytes), std::move(model))));
}

void Tokenizer::Encode(absl::string_view text,
                       std::vector<int32_t>& ids) const {
  parts_->encoder.Encode(parts_->normalizer.Normalize(text), ids);
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids) const {
  StreamDecoder decoder(*this);
  std::string text;
  for (const int32_t id : ids) text += decoder.Push(id);
  return text + decoder.Finish();
}

int Tokenizer::vocab_size() const {
  return static_cast<int>(model().pieces.size());
}
int Tokenizer::bos_id() const { return model().bos_id; }
int Tokenizer::eos_id() const { return model().eos_id; }
int Tokenizer::unk_id() const { return model().unk_id; }

absl::string_view Tokenizer::Piece(int id) const {
  CHECK(id >= 0 && id < vocab_size());
  return model().pieces[static_cast<size_t>(id)].text;
}

const SentencePieceModel& Tokenizer::model() const { return parts_->model; }

const std::string& Tokenizer::model_bytes() const { return parts_->bytes; }

std::string StreamDecoder::Push(int32_t id) {
  const bool known = id >= 0 && static_cast<size_t>(id) < model_.pieces.size();
  const SentencePiece& piece =
      model_.pieces[static_cast<size_t>(known ? id : model_.unk_id)];
  std::string out;
  if (piece.type == PieceType::kByte) {
    PushByte(piece.text, out);
    at_start_ = at_start_ && out.empty();
    return out;
  }
  out = Finish();
  at_start_ = at_start_ && out.empty();
  if (piece.type == PieceType::kUnknown) {
    out += model_.unk_surface;
  } else if (piece.type != PieceType::kControl) {
    PushText(piece.text, out);
  }
  at_start_ = at_start_ && out.empty();
  return out;
}

std::string StreamDecoder::Finish() {
  std::string out;
  for (size_t i = 0; i < pending_.size(); ++i) {
    out.append(kReplacementCharacter.data(), kReplacementCharacter.size());
  }
  pending_.clear();
  return out;
}

// A byte that cannot go on what is pending makes the bytes before it, one by
// one, U+FFFD.
void StreamDecoder::PushByte(absl::string_view piece, std::string& out) {
  unsigned value = 0;  // of <0xNN>
  std::from_chars(piece.data() + 3, piece.data() + 5, value, 16);
  pending_.push_back(static_cast<char>(value));
  while (!pending_.empty() && !IsIncompleteUtf8(pending_)) {
    const size_t length = Utf8CharacterLength(pending_);
    if (length > 0) {
      out.append(pending_, 0, length);
      pending_.erase(0, length);
    } else {
      out.append(kReplacementCharacter.data(), kReplacementCharacter.size());
      pending_.erase(0, 1);
    }
  }
}

// Encoding put a space before the text; or it took away all that were there,
// and as many may be taken away again.
void StreamDecoder::PushText(absl::string_view piece, std::string& out) {
  const bool strips =
      model_.add_dummy_prefix || model_.remove_extra_whitespaces;
  if (at_start_ && strips && absl::ConsumePrefix(&piece, kSpaceSymbol) &&
      !model_.remove_extra_whitespaces) {
    at_start_ = false;
  }
  out += absl::StrReplaceAll(piece, {{kSpaceSymbol, " "}});
}

}  // namespace moe
