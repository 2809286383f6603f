#ifndef DATA_STORAGE_JSON_DOCUMENT_H_
#define DATA_STORAGE_JSON_DOCUMENT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace moe {

// The string under "text" of one JSON object, whatever else it holds: also the
// NaN, Infinity and -Infinity that Python writes for numbers. DataLoss
// says what is wrong: broken JSON and where, no object, "text" missing, twice
// or not a string.
absl::Status ReadJsonText(absl::string_view json, std::string& text);

}  // namespace moe

#endif  // DATA_STORAGE_JSON_DOCUMENT_H_
