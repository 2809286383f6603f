#ifndef TRAINER_CONFIG_FOREIGN_KEYS_H_
#define TRAINER_CONFIG_FOREIGN_KEYS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace moe {

// What other trainers (transformers, Megatron-LM, torchtitan, nanoGPT) call a
// key of ours.
struct ForeignKey {
  absl::string_view theirs;  // lower case, words divided by "_"
  absl::string_view ours;    // "section.key"
  // False: its values are of another kind ("bf16=true").
  bool has_our_values = true;
};
absl::Span<const ForeignKey> ForeignKeys();

// Our key for `typed`, a name with or without a section, in any case, its words
// divided by "_" or "-". Null: nobody calls one so.
const ForeignKey* FindForeignKey(absl::string_view typed);

}  // namespace moe

#endif  // TRAINER_CONFIG_FOREIGN_KEYS_H_
