#include "data/text/utf8.h"

#include <cstdint>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace moe {
namespace {

// One code point by the definition of UTF-8, surrogates included.
std::string Encode(uint32_t code) {
  const auto byte = [](uint32_t value) { return static_cast<char>(value); };
  if (code < 0x80) return {byte(code)};
  if (code < 0x800) return {byte(0xC0 | code >> 6), byte(0x80 | (code & 0x3F))};
  if (code < 0x10000) {
    return {byte(0xE0 | code >> 12), byte(0x80 | (code >> 6 & 0x3F)),
            byte(0x80 | (code & 0x3F))};
  }
  return {byte(0xF0 | code >> 18), byte(0x80 | (code >> 12 & 0x3F)),
          byte(0x80 | (code >> 6 & 0x3F)), byte(0x80 | (code & 0x3F))};
}

TEST(Utf8, PrintableTextHasNeitherBytesNorControls) {
  EXPECT_EQ(PrintableText(""), "");
  EXPECT_EQ(PrintableText("caf\xE9.txt"), "caf\\xE9.txt");
  EXPECT_EQ(PrintableText("caf\xC3\xA9\n\ta\\b"), "caf\xC3\xA9\n\ta\\b");
  EXPECT_EQ(PrintableText("\x1B[2J\r\x7F"), "\\x1B[2J\\x0D\\x7F");
  EXPECT_EQ(PrintableText("\xC2\x9B\xC2\xA0"), "\\xC2\\x9B\xC2\xA0");
  EXPECT_EQ(PrintableText(std::string("\0a", 2)), "\\x00a");
  EXPECT_EQ(PrintableText("\xE2\x82"), "\\xE2\\x82");  // cut short
}

TEST(Utf8, TakesEveryCodePointButSurrogates) {
  for (uint32_t code = 0; code < 0x110100; ++code) {
    const std::string text = Encode(code);
    const bool good = code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
    ASSERT_EQ(Utf8CharacterLength(text), good ? text.size() : 0) << code;
    ASSERT_EQ(Utf8CharacterLength(text + "\x80"), good ? text.size() : 0);
    for (size_t size = 1; good && size < text.size(); ++size) {
      ASSERT_EQ(Utf8CharacterLength(text.substr(0, size)), 0) << code;
      ASSERT_TRUE(IsIncompleteUtf8(text.substr(0, size))) << code;
    }
    ASSERT_FALSE(good && IsIncompleteUtf8(text)) << code;
  }
}

TEST(Utf8, RefusesOverlongFormsAndStrayBytes) {
  for (const char* text :
       {"\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF",
        "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\x80", "\xBF", "\xFE", "\xFF",
        "\xF8\x88\x80\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80"}) {
    EXPECT_EQ(Utf8CharacterLength(text), 0) << text;
    EXPECT_FALSE(IsIncompleteUtf8(text)) << text;
  }
  EXPECT_FALSE(IsIncompleteUtf8("\xE2\x41"));
  EXPECT_FALSE(IsIncompleteUtf8(""));
  EXPECT_EQ(Utf8CharacterLength(""), 0);
}

TEST(Utf8, FindsTheFirstIllFormedByteAtAnyOffset) {
  for (size_t before = 0; before < 20; ++before) {
    const std::string good = std::string(before, 'a') + "\xC3\xA9";
    EXPECT_EQ(ValidUtf8Prefix(good + "\xFF tail of text"), before + 2);
    EXPECT_EQ(ValidUtf8Prefix(good), good.size());
  }
}

TEST(Utf8, CountsEachByteThatIsReadAsAnother) {
  const auto find = [](absl::string_view text) {
    const IllFormedBytes found = FindIllFormedBytes(text);
    return std::pair(found.count, found.first);
  };
  using Pair = std::pair<int64_t, int64_t>;
  EXPECT_EQ(find(""), Pair(0, -1));
  EXPECT_EQ(find("caf\xC3\xA9, twenty bytes of text"), Pair(0, -1));
  EXPECT_EQ(find("caf\xE9"), Pair(1, 3));
  EXPECT_EQ(find("\xFF\xFE text, a good \xE2\x82\xAC, a cut \xE2\x82"),
            Pair(4, 0));
}

}  // namespace
}  // namespace moe
