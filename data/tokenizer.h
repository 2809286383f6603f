#ifndef DATA_TOKENIZER_H_
#define DATA_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

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

  // Appends the ids of `text`, without <s> or </s>. Any bytes are taken; those
  // that are no UTF-8 are treated as spm_encode treats them.
  void Encode(absl::string_view text, std::vector<int32_t>& ids) const;
  // Control pieces are nothing, unknown ids (< 0 or >= vocab_size) as unk.
  std::string Decode(absl::Span<const int32_t> ids) const;

  int vocab_size() const;
  int bos_id() const;  // <s>, or -1
  int eos_id() const;  // </s>, or -1
  int unk_id() const;
  absl::string_view Piece(int id) const;
  // The file, as it was read.
  const std::string& model_bytes() const;

 private:
  struct Model;
  explicit Tokenizer(std::unique_ptr<Model> model);
  std::unique_ptr<Model> model_;
};

// Decodes ids as they come: returns the text that has become certain (no half
// of a UTF-8 character), as generation streams it.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string Push(int32_t id);
  // What is left at the end, an incomplete character included.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;
  bool at_start_ = true;
};

}  // namespace moe

#endif  // DATA_TOKENIZER_H_
