#ifndef DATA_TEXT_BYTES_H_
#define DATA_TEXT_BYTES_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/token_stream.h"
#include "data/tokenizer.h"

namespace moe {

// Bytes of text that a token of these streams stands for, in the mean, <s> and
// </s> counted among the tokens: what turns a loss per token into bits per
// byte. Of a stream longer than 16 Mi tokens only so many are counted.
absl::StatusOr<double> MeanTextBytes(const Tokenizer& tokenizer,
                                     absl::Span<const TokenStream> streams);

}  // namespace moe

#endif  // DATA_TEXT_BYTES_H_
