#ifndef DATA_TEXT_TOKENIZER_H_
#define DATA_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/text/sentencepiece_model.h"

namespace moe {

// Text to ids and back by a SentencePiece BPE model (Kudo and Richardson,
// "SentencePiece", 2018), id for id as `spm_encode` and `spm_decode` do.
// Immutable: any number of threads may use one.
class Tokenizer {
 public:
  // DataLoss: not a SentencePiece model. FailedPrecondition: a kind we do not
  // encode (unigram, word, char; a normaliser other than identity), which.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(
      const std::string& path);
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromBytes(
      std::string model_bytes);
  ~Tokenizer();

  // Appends the ids of `text`, without <s> or </s>. Any bytes are taken; one
  // that is no UTF-8 counts as U+FFFD, as for spm_encode.
  void Encode(absl::string_view text, std::vector<int32_t>& ids) const;
  // Control pieces are nothing, unknown ids (< 0 or >= vocab_size) as unk.
  std::string Decode(absl::Span<const int32_t> ids) const;

  int vocab_size() const;
  int bos_id() const;  // <s>, or -1
  int eos_id() const;  // </s>, or -1
  int unk_id() const;
  absl::string_view Piece(int id) const;
  // What the file says: pieces with scores and types, and options.
  const SentencePieceModel& model() const;
  // The file, as it was read.
  const std::string& model_bytes() const;

 private:
  struct Parts;
  explicit Tokenizer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// Decodes ids as they come: returns the text that has become certain (no half
// of a UTF-8 character), as generation streams it. All that it returns,
// together, is what Decode gives of the same ids.
class StreamDecoder {
 public:
  // `tokenizer` must outlive the decoder.
  explicit StreamDecoder(const Tokenizer& tokenizer)
      : model_(tokenizer.model()) {}
  std::string Push(int32_t id);
  // What is left at the end: each byte of an incomplete character as U+FFFD.
  std::string Finish();

 private:
  void PushByte(absl::string_view piece, std::string& out);
  void PushText(absl::string_view piece, std::string& out);

  const SentencePieceModel& model_;
  std::string pending_;   // bytes of byte pieces, the beginning of a character
  bool at_start_ = true;  // the space that encoding put first may still come
};

}  // namespace moe

#endif  // DATA_TEXT_TOKENIZER_H_
