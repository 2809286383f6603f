#ifndef TESTS_DATA_HOSTILE_LINES_H_
#define TESTS_DATA_HOSTILE_LINES_H_

#include <string>
#include <vector>

namespace moe {

// Lines, without line ends, that an encoder may get wrong: broken UTF-8,
// U+2581 and names of pieces in the text, combining and joined characters,
// runs of white space, a megabyte of one character, random mixtures of all
// that, and pieces of `text` with damaged bytes.
std::vector<std::string> HostileLines(const std::string& text, unsigned seed);

}  // namespace moe

#endif  // TESTS_DATA_HOSTILE_LINES_H_
